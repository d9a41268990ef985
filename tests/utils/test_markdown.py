"""A table of a card holds its values as text: a label links to nothing and loads nothing."""

from __future__ import annotations

import pytest

from smotext_ray.utils.markdown import table


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("![x](https://evil/pixel.png)", r"!\[x\](https://evil/pixel.png)"),
        ("<img src=//evil>", "&lt;img src=//evil>"),
        ("a|b\\", r"a\|b\\"),
        ("`a | b", r"\`a \| b"),
        ("&lt;b>", "&amp;lt;b>"),
        ("two\nlines\x1b[2J", r"two lines\\x1b\[2J"),
        ("source_id, lam: 0.5", "source_id, lam: 0.5"),
    ],
)
def test_a_value_is_text(value, cell):
    assert table(("label",), [(value,)]).splitlines()[-1] == f"| {cell} |"
