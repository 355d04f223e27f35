"""Import a folder, look at every photo, and learn from all of them once the last one is done.

    python import_and_learn.py              the whole of it, in memory
    python import_and_learn.py STEP         one of its services, on Kafka

One record fans out to as many as the folder has photos; a join waits for all of them; what it
comes to is sent one way or the other, and one way leads to the learning step.
"""

import sys
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from streamkit import Emit, Failure, Handlers, Message, Reject, configure_logs
from streamkit.testing import Kit
from streamkit.workflow import (
    Branch,
    Failures,
    Join,
    Joined,
    Part,
    Stage,
    Topic,
    Value,
    Workflow,
    WorkflowError,
    chain,
)
from streamkit.workflow.running import serve

ENOUGH: Final = 3
"""Photos of which something can be learned."""


def list_folder(message: Message) -> Sequence[Emit]:
    """One task for each photo, keyed by it; and how many there are, keyed by the import."""
    files, folder = message.value["files"], message.key
    listed = Emit("import.listed.v1", folder, {"photos": len(files)}, f"{folder}/listed")
    tasks = [
        Emit(
            "import.photo.v1",
            f"{folder}/{index}",
            {"folder": folder, "index": index, "file": file},
            f"{folder}/{index}/task",
        )
        for index, file in enumerate(files)
    ]
    return [listed, *tasks]


def look(message: Message) -> Sequence[Emit]:
    """A photo's label, keyed by its import again."""
    task = message.value
    if not task["file"].endswith(".jpg"):
        raise Reject("not_a_photo", f"{task['file']} is no photo.")
    value = {"index": task["index"], "label": task["file"].removesuffix(".jpg")}
    return [Emit("import.photo-labeled.v1", task["folder"], value, f"{message.key}/labeled")]


def not_looked(message: Message, why: Failure) -> Sequence[Emit]:
    """Word of a photo that was given up, so that nobody waits for it."""
    task = message.value
    value = {"index": task["index"], "code": why.code}
    return [Emit("import.photo-failed.v1", task["folder"], value, f"{message.key}/failed")]


def learn(message: Message) -> Sequence[Emit]:
    """What can be told apart now."""
    value = {"labels": sorted(set(message.value["labels"]))}
    return [Emit("model.learned.v1", message.key, value, f"{message.key}/learned")]


def lister() -> Handlers:
    """Handlers of the step of that name, as the others."""
    return Handlers({"import.requested.v1": list_folder})


def looker() -> Handlers:
    """See lister."""
    return Handlers({"import.photo.v1": look}, not_looked)


def learner() -> Handlers:
    """See lister."""
    return Handlers({"learning.requested.v1": learn})


def failed_photo(failure: Value) -> str:
    """Which part of the join will not come."""
    return f"photo/{failure['index']}"


def all_photos(parts: Mapping[str, Any], _failed: Mapping[str, Any]) -> Sequence[str] | None:
    """What the join waits for: the list, and whatever is on it."""
    if "list" not in parts:
        return None
    return ["list", *(f"photo/{index}" for index in range(parts["list"]["photos"]))]


def summary(joined: Joined) -> Value:
    """What an import came to."""
    labels = [part["label"] for name, part in joined.parts.items() if name != "list"]
    return {"labels": labels, "failed": len(joined.failed)}


def enough(value: Value) -> str:
    """Whether something can be learned of it."""
    return "learn" if len(value["labels"]) >= ENOUGH else "too_few"


IMPORT: Final = Workflow(
    name="import",
    key="folder",
    entries="import.requested.v1",
    topics=(Topic(name="import.photo.v1", key="folder/index", partitions=4, group=None),),
    flow=chain(
        Stage(name="lister", into="import.photo.v1", also=("import.listed.v1",), handlers=lister),
        Stage(
            name="looker",
            into="import.photo-labeled.v1",
            also=("import.photo-failed.v1",),
            handlers=looker,
        ),
        Join(
            name="importer",
            parts=(
                Part("list", "import.listed.v1"),
                Part("photo", "import.photo-labeled.v1", each=itemgetter("index")),
            ),
            failures=(Failures("import.photo-failed.v1", part=failed_photo),),
            expects=all_photos,
            decide=summary,
        ),
        Branch(
            name="enough",
            choose=enough,
            topics={"learn": "learning.requested.v1", "too_few": "import.completed.v1"},
        ),
        Stage(
            name="learner",
            into="model.learned.v1",
            reads="learning.requested.v1",
            handlers=learner,
        ),
    ),
)

_STRINGS: Final = {"type": "array", "items": "string"}
_SUMMARY: Final = {"labels": _STRINGS, "failed": "int"}
_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "import.requested.v1": {"files": _STRINGS},
    "import.listed.v1": {"photos": "int"},
    "import.photo.v1": {"folder": "string", "index": "int", "file": "string"},
    "import.photo-labeled.v1": {"index": "int", "label": "string"},
    "import.photo-failed.v1": {"index": "int", "code": "string"},
    "import.completed.v1": _SUMMARY,
    "learning.requested.v1": _SUMMARY,
    "model.learned.v1": {"labels": _STRINGS},
}


def schema_of(topic: str) -> dict[str, Any]:
    """The Avro schema of a topic's values; raises KeyError for one that is not of the workflow."""
    fields = [{"name": name, "type": type_} for name, type_ in _FIELDS[topic].items()]
    name = "".join(word.capitalize() for word in topic.replace("-", ".").split(".")[:-1])
    return {"type": "record", "name": name, "namespace": "examples", "fields": fields}


def learned(*files: str) -> list[str] | None:
    """What is learned of a folder with these files; None if they are too few."""
    kit = Kit(IMPORT, schema_of=schema_of)
    kit.produce("import.requested.v1", "my-folder", {"files": files})
    found = kit.outputs("model.learned.v1")
    return list(found[0].value["labels"]) if found else None


if __name__ == "__main__":
    if len(sys.argv) > 1:
        try:
            serve(IMPORT, sys.argv[1], schema_of, sys.argv[2:])
        except WorkflowError as error:
            sys.exit(str(error))
    else:
        configure_logs("import-and-learn", "error")
        print(learned("cat.jpg", "dog.jpg", "notes.txt", "cat.jpg"))  # noqa: T201
