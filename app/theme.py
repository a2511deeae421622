"""How the studio looks: warm paper and ink by day, the same room by lamplight. The reports share these colours."""

from __future__ import annotations

from typing import Any

_SERIF = "'Iowan Old Style', 'Palatino Linotype', Palatino, 'Book Antiqua', 'URW Palladio L', Georgia, serif"

LIGHT = {
    "primaryColor": "#23694a",
    "backgroundColor": "#fbf8f2",
    "secondaryBackgroundColor": "#f1ebdf",
    "textColor": "#26221c",
    "linkColor": "#1f5f86",
    "borderColor": "#ddd3c2",
    "codeBackgroundColor": "#f1ebdf",
    "codeTextColor": "#26221c",
    "redColor": "#a8321f",
    "greenColor": "#23694a",
    "orangeColor": "#80590a",
    "yellowColor": "#80590a",
    "blueColor": "#1f5f86",
    "grayColor": "#6b6355",
    "redTextColor": "#a8321f",
    "greenTextColor": "#23694a",
    "orangeTextColor": "#80590a",
    "yellowTextColor": "#80590a",
    "blueTextColor": "#1f5f86",
    "violetTextColor": "#6b3fa0",
    "grayTextColor": "#6b6355",
    "dataframeHeaderBackgroundColor": "#f1ebdf",
}
DARK = {
    "primaryColor": "#338059",
    "backgroundColor": "#171511",
    "secondaryBackgroundColor": "#221f19",
    "textColor": "#ebe4d6",
    "linkColor": "#9dbbe0",
    "borderColor": "#3d372c",
    "codeBackgroundColor": "#221f19",
    "codeTextColor": "#ebe4d6",
    "redColor": "#f29483",
    "greenColor": "#86cba4",
    "orangeColor": "#e2b85f",
    "yellowColor": "#e2b85f",
    "blueColor": "#9dbbe0",
    "grayColor": "#a79d8c",
    "redTextColor": "#f29483",
    "greenTextColor": "#86cba4",
    "orangeTextColor": "#e2b85f",
    "yellowTextColor": "#e2b85f",
    "blueTextColor": "#9dbbe0",
    "violetTextColor": "#c3a6e8",
    "grayTextColor": "#a79d8c",
    "dataframeHeaderBackgroundColor": "#221f19",
}
_SIDEBAR = {"light": "#f1ebdf", "dark": "#1d1a15"}


def options() -> dict[str, Any]:
    """Return the theme as Streamlit options; the browser's own setting chooses between light and dark."""
    found: dict[str, Any] = {
        "theme.headingFont": _SERIF,
        "theme.font": "sans-serif",
        "theme.codeFont": "monospace",
        "theme.codeFontSize": "0.875rem",
        "theme.baseRadius": "0.45rem",
        "theme.headingFontSizes": ["2.1rem", "1.45rem", "1.15rem", "1rem", "1rem", "1rem"],
        "theme.headingFontWeights": [600, 600, 600, 600, 600, 600],
        "theme.showWidgetBorder": True,
        "theme.showSidebarBorder": True,
        "theme.linkUnderline": True,
    }
    for mode, colours in (("light", LIGHT), ("dark", DARK)):
        found |= {f"theme.{mode}.{name}": value for name, value in colours.items()}
        found[f"theme.{mode}.sidebar.backgroundColor"] = _SIDEBAR[mode]
    return found
