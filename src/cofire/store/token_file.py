"""The token table as a Parquet file, the same in activation stores and runs."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cofire.activations import TokenTable


def token_table(tokens: TokenTable) -> pa.Table:
    """Columns text_id, position, token_id and token (the surface string)."""
    pieces = pa.DictionaryArray.from_arrays(
        pa.array(tokens.piece, pa.int32()), pa.array(tokens.pieces, pa.string())
    )
    return pa.table(
        {
            "text_id": pa.array(tokens.text_id, pa.int32()),
            "position": pa.array(tokens.position, pa.int32()),
            "token_id": pa.array(tokens.token_id, pa.int32()),
            "token": pieces,
        }
    )


def read_tokens(path: Path) -> TokenTable:
    """Read what ``token_table`` made."""
    table = pq.read_table(path, read_dictionary=["token"])
    column = table["token"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # an empty or multi-chunk table
        column = column.unify_dictionaries().chunk(0) if column.num_chunks else None
    pieces = () if column is None else tuple(column.dictionary.to_pylist())
    numbers = np.empty(0, np.int32) if column is None else column.indices.to_numpy()
    return TokenTable(
        text_id=table["text_id"].to_numpy(),
        position=table["position"].to_numpy(),
        token_id=table["token_id"].to_numpy(),
        piece=numbers,
        pieces=pieces,
    )
