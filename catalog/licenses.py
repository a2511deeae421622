"""What the licences of models ask of those who use them, in plain words. This is no legal advice: read the licence."""

from __future__ import annotations

from dataclasses import dataclass

_CREDIT = "name the authors, and keep their licence text with every copy"
_SAME = "what you make from it and pass on must be under the same licence"
_USES = "uses that the licence lists as harmful are forbidden, also to those whom you pass it on to"
_SOURCE = "who gets the program from you must get its source code under the same licence"


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """A licence: whether it allows commercial use (None: it depends, or nobody knows), and what it asks for."""

    id: str
    name: str
    commercial: bool | None
    duties: tuple[str, ...] = ()
    link: str = ""


def _spdx(id_: str) -> str:
    return f"https://spdx.org/licenses/{id_}.html"


def _open(id_: str, name: str, *duties: str, spdx: str = "") -> License:
    return License(id=id_, name=name, commercial=True, duties=duties, link=_spdx(spdx) if spdx else "")


def _creative(id_: str, name: str, *duties: str, commercial: bool = True) -> License:
    path = id_.removeprefix("cc-").replace("-4.0", "/4.0").replace("-3.0", "/3.0")
    link = f"https://creativecommons.org/licenses/{path}/"
    return License(id=id_, name=name, commercial=commercial, duties=(_CREDIT, *duties), link=link)


def _llama(id_: str, version: str, place: str) -> License:
    return License(
        id=id_, name=f"Llama {version} Community License", commercial=True, link=f"https://www.llama.com/{place}/license/",
        duties=(
            "companies with more than 700 million monthly users need a licence from Meta",
            'show "Built with Llama" where you use it' if version != "2" else "keep the notice of Meta with every copy",
            "what you train from it has a name that begins with Llama" if version not in ("2",)
            else "its answers may not improve other language models",
            _USES,
        ),
    )  # fmt: skip


_NC = "not for commercial use"
_ALL = (
    _open("apache-2.0", "Apache License 2.0", _CREDIT, "say what you have changed",
          "who sues over patents in it loses the right to use it", spdx="Apache-2.0"),
    _open("mit", "MIT License", _CREDIT, spdx="MIT"),
    _open("bsd-2-clause", "BSD 2-Clause License", _CREDIT, spdx="BSD-2-Clause"),
    _open("bsd-3-clause", "BSD 3-Clause License", _CREDIT, "do not advertise with the authors' names",
          spdx="BSD-3-Clause"),
    _open("isc", "ISC License", _CREDIT, spdx="ISC"),
    _open("zlib", "zlib License", "do not claim that you wrote it, and mark what you have changed", spdx="Zlib"),
    _open("afl-3.0", "Academic Free License 3.0", _CREDIT, "say what you have changed", spdx="AFL-3.0"),
    _open("ecl-2.0", "Educational Community License 2.0", _CREDIT, "say what you have changed", spdx="ECL-2.0"),
    _open("artistic-2.0", "Artistic License 2.0", _CREDIT, "changed copies bear another name or stay open",
          spdx="Artistic-2.0"),
    _open("ms-pl", "Microsoft Public License", _CREDIT, spdx="MS-PL"),
    _open("cc0-1.0", "CC0 1.0 (public domain)", spdx="CC0-1.0"),
    _open("unlicense", "The Unlicense (public domain)", spdx="Unlicense"),
    _open("wtfpl", "Do What The F*ck You Want To Public License", spdx="WTFPL"),
    _open("odc-by", "Open Data Commons Attribution License", _CREDIT, spdx="ODC-By-1.0"),
    _open("odbl", "Open Database License", _CREDIT, _SAME, spdx="ODbL-1.0"),
    _open("mpl-2.0", "Mozilla Public License 2.0", "changed files stay under this licence, with their source",
          spdx="MPL-2.0"),
    _open("lgpl-3.0", "GNU Lesser General Public License 3.0", "changes to it stay under it, with their source",
          spdx="LGPL-3.0-only"),
    _open("gpl-2.0", "GNU General Public License 2.0", _SOURCE, spdx="GPL-2.0-only"),
    _open("gpl-3.0", "GNU General Public License 3.0", _SOURCE, spdx="GPL-3.0-only"),
    _open("agpl-3.0", "GNU Affero General Public License 3.0", _SOURCE,
          "those who use it over a network count as well", spdx="AGPL-3.0-only"),
    _creative("cc-by-4.0", "Creative Commons Attribution 4.0"),
    _creative("cc-by-3.0", "Creative Commons Attribution 3.0"),
    _creative("cc-by-sa-4.0", "Creative Commons Attribution-ShareAlike 4.0", _SAME),
    _creative("cc-by-sa-3.0", "Creative Commons Attribution-ShareAlike 3.0", _SAME),
    _creative("cc-by-nd-4.0", "Creative Commons Attribution-NoDerivatives 4.0", "nothing changed may be passed on"),
    _creative("cc-by-nc-4.0", "Creative Commons Attribution-NonCommercial 4.0", _NC, commercial=False),
    _creative("cc-by-nc-sa-4.0", "Creative Commons Attribution-NonCommercial-ShareAlike 4.0", _NC, _SAME,
              commercial=False),
    _creative("cc-by-nc-nd-4.0", "Creative Commons Attribution-NonCommercial-NoDerivatives 4.0", _NC,
              "nothing changed may be passed on", commercial=False),
    License(id="openrail", name="OpenRAIL", commercial=True, duties=(_USES,)),
    License(id="openrail++", name="OpenRAIL++", commercial=True, duties=(_USES,)),
    License(id="creativeml-openrail-m", name="CreativeML OpenRAIL-M", commercial=True, duties=(_CREDIT, _USES)),
    License(id="bigscience-openrail-m", name="BigScience OpenRAIL-M", commercial=True, duties=(_CREDIT, _USES)),
    License(id="bigscience-bloom-rail-1.0", name="BigScience BLOOM RAIL 1.0", commercial=True,
            duties=(_CREDIT, _USES)),
    License(id="bigcode-openrail-m", name="BigCode OpenRAIL-M", commercial=True, duties=(_CREDIT, _USES)),
    _llama("llama2", "2", "llama2"),
    _llama("llama3", "3", "llama3"),
    _llama("llama3.1", "3.1", "llama3_1"),
    _llama("llama3.2", "3.2", "llama3_2"),
    _llama("llama3.3", "3.3", "llama3_3"),
    _llama("llama4", "4", "llama4"),
    License(id="gemma", name="Gemma Terms of Use", commercial=True, link="https://ai.google.dev/gemma/terms",
            duties=("pass the terms on with it", _USES)),
    License(id="apple-amlr", name="Apple Machine Learning Research Model License", commercial=False,
            duties=("for research alone",)),
)  # fmt: skip
_BY_ID = {license_.id: license_ for license_ in _ALL}
_FAMILIES = {"lgpl": "lgpl-3.0", "gpl": "gpl-3.0", "bsd": "bsd-3-clause", "cc": "other", "pddl": "cc0-1.0"}


def explained(id_: str | None, *, name: str | None = None, link: str | None = None) -> License:
    """Return what a licence asks for; `name` and `link` are what a card says of one of its own (`other`).

    >>> explained("cc-by-nc-4.0").commercial
    False
    """
    word = (id_ or "").strip().lower()
    known = _BY_ID.get(_FAMILIES.get(word, word))
    if known is not None:
        return known
    if not word or word == "unknown":
        hint = "nothing is said: without a licence nobody may use it; ask the authors"
        return License(id="", name="No licence", commercial=None, duties=(hint,))
    return License(
        id=word,
        name=name or ("A licence of its own" if word == "other" else word),
        commercial=None,
        duties=("Studiolo does not know it: read it",),
        link=link or "",
    )
