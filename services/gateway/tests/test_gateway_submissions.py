"""What a submission comes to, decided without a database."""

from uuid import UUID, uuid4

import pytest

from darkroom_schemas import ids
from gateway.catalog.submissions import Known, Status, Submission, decide

ANALYZED, UNFINISHED = uuid4(), uuid4()


def submission() -> Submission:
    return Submission(
        owner=ids.LOCAL_OWNER,
        sha256="ab" * 32,
        source_uri="file:///objects/x",
        byte_size=1,
        file_name=None,
        lane="high",
        submission_id="once",
    )


OWN = UUID(submission().analysis_id)


@pytest.mark.parametrize(
    ("known", "status", "analysis"),
    [
        (Known(None, None, None), Status.NEW, OWN),
        (Known(None, UNFINISHED, None), Status.JOINED, UNFINISHED),
        (Known(None, None, OWN), Status.JOINED, OWN),
        (Known(None, UNFINISHED, OWN), Status.JOINED, OWN),
        (Known(ANALYZED, None, None), Status.ANALYZED, ANALYZED),
        (Known(ANALYZED, UNFINISHED, OWN), Status.ANALYZED, ANALYZED),
    ],
    ids=["new", "waited for", "refused, repeated", "repeated", "analyzed", "analyzed again"],
)
def test_a_submission_begins_an_analysis_only_if_none_answers_it(
    known: Known, status: Status, analysis: UUID
) -> None:
    answer = decide(submission(), known)
    assert (answer.status, answer.analysis_id) == (status, str(analysis))
    assert answer.photo_id == ids.photo_id(ids.LOCAL_OWNER, "ab" * 32)
