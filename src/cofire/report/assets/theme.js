// Theme: that of the system until the reader chooses another.

const THEME = "cofire-theme";
const SYSTEM = matchMedia("(prefers-color-scheme: dark)");

/** Show the chosen theme, and let a button change it. */
export function startTheme(button) {
  const show = (theme) => {
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme");
  };
  show(storedTheme());
  SYSTEM.addEventListener("change", () => show(null));
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    show(theme);
    try {
      localStorage.setItem(THEME, theme);
    } catch {
      // the choice then lasts as long as the page
    }
  });
}

function storedTheme() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null; // some browsers keep nothing for files
  }
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return (chosen ?? (SYSTEM.matches ? "dark" : "light")) === "dark";
}
