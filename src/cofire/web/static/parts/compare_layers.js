// Two layers whose features were paired one to one.

import { featurePath, href } from "../address.js";
import { h, isolated, missing } from "../shared/dom.js";
import { counted, figure } from "../shared/text.js";
import { failed } from "./words.js";

const BY = {
  atoms: "Paired by the cosine of their atoms.",
  codes: "Paired by the cosine of their codes on the same tokens.",
};

/** The pairs, most alike first; `more(offset)` gives further ones. */
export function layersBlock({ first, second, by, mean_cosine: mean, above_half: above, found, pairs, notes }, more) {
  const body = h("tbody");
  const cell = (side, feature, label) =>
    h(
      "td",
      {},
      h(
        "a",
        { href: href(featurePath(side.run, side.layer.layer, feature)) },
        h("span", { class: "number" }, `${feature} `),
        isolated(label),
      ),
    );
  const row = (pair) =>
    h(
      "tr",
      {},
      cell(first, pair.first, pair.first_label),
      cell(second, pair.second, pair.second_label),
      h(
        "td",
        { class: "amount" },
        h(
          "a",
          {
            href: href("/compare", {
              a: `${first.run}/${first.layer.layer}/${pair.first}`,
              b: `${second.run}/${second.layer.layer}/${pair.second}`,
            }),
            title: `compare ${pair.first} and ${pair.second}`,
          },
          figure(pair.cosine),
        ),
      ),
    );
  body.append(...pairs.map(row));
  let shown = pairs.length;
  const button = h("button", { type: "button", class: "more" }, "Show more");
  button.hidden = shown >= found;
  button.addEventListener("click", async () => {
    try {
      const next = await more(shown);
      body.append(...next.map(row));
      shown += next.length;
      button.hidden = shown >= found || next.length === 0;
    } catch (error) {
      button.replaceWith(failed(error));
    }
  });
  const title = (side) => `${side.run}, ${side.layer.title}`;
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Features paired one to one"),
    notes.map((note) => h("p", { class: "note" }, note)),
    by === null
      ? null
      : [
          h("p", {}, BY[by]),
          h(
            "dl",
            { class: "quick" },
            [
              ["Pairs", found.toLocaleString("en")],
              ["Mean cosine", mean === null ? missing("there is no pair") : figure(mean)],
              ["Above 0.5", above === null ? missing("there is no pair") : counted(above, "pair")],
            ].map(([term, fact]) => h("div", {}, h("dt", {}, term), h("dd", {}, fact))),
          ),
          h(
            "div",
            { class: "scroll", tabindex: 0, role: "region", "aria-label": "Paired features" },
            h(
              "table",
              { class: "plain versus pairs" },
              h(
                "thead",
                {},
                h(
                  "tr",
                  {},
                  h("th", { scope: "col" }, title(first)),
                  h("th", { scope: "col" }, title(second)),
                  h("th", { scope: "col", class: "amount" }, "Cosine"),
                ),
              ),
              body,
            ),
          ),
          button,
        ],
  );
}
