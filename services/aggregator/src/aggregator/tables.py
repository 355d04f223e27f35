"""How states lie in the tables, and are read back out of a changelog.

A value is JSON, or, where that is much smaller, JSON as a stream of zlib's (RFC 1950). Streams of
`analyses` have a preset dictionary, which never changes: what was written with it could not be
read without.
"""

import zlib
from collections.abc import Mapping
from typing import Any, Final

from aggregator.forgetting import settled
from streamkit.faust import Packing, deflated, from_json

_MANY_CHUNKS: Final = 4

_DECIDED: Final = (
    b'"repairs_of":1,"repairs":{"rejected":17955,"cancelled":17955,"policy_revision":2,"revision":1,'
    b'"furniture","musical instrument","sport or game","kitchenware","insect or spider",'
    b'"reptile or amphibian","food or drink","household item","tool","electronics or appliance",'
    b'"bird","building or place","clothing or accessory","vehicle","dog","cat","other animal",'
    b'"lane":"learning","parts"lane":"default","parts"lane":"high","parts"outcome":"suggested","label"'
    b'"reason":"Without a result of detector, ocr, embedder, so a person should look."'
    b'"outcome":"review","label":null,"confidence":null,"calibrated":false,'
    b'"reason":"No label was found."'
    b', above 0.8."}}}}}}, between 0.5 and 0.8."}}}}}}{"analyses":{"-5":{"members":{"-4":[0]},'
    b'"revisions":{"1":{"policy_revision":1,"lane":"batch","parts":{"detector":'
    b'{"engine":"efficientnet-lite0","model_version":"efficientnet-lite0@579344248a93","at":1795,'
    b'"labels":[["",0.9],["",0.0"category":"other animal","calibrated":false},'
    b'"ocr":{"engine":"rapidocr","model_version":"pp-ocrv6-small@5b9689ecdafb","at":1795},'
    b'"embedder":{"engine":"efficientnet-lite0","model_version":"efficientnet-lite0@579344248a93","at":1795,'
    b'"labels":[]}},"failed":{},"decision":{"outcome":"auto_labeled","label":"","confidence":0.'
    b',"calibrated":false,"reason":"\' with a confidence of 0.9, below 0.5."}}}}}}'
)
"""What the states of decided photos have in common."""

PACKINGS: Final[Mapping[str, Packing]] = {
    "analyses": deflated(settled, dictionary=_DECIDED),
    "chunks": deflated(strategy=zlib.Z_RLE),
    "batches": deflated(lambda state: len(state["open"]) > _MANY_CHUNKS),
}


def read(table: str, value: bytes) -> dict[str, Any]:
    """The state that a record of a table's changelog holds."""
    return from_json(PACKINGS[table].unpack(value))
