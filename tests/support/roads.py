"""The roads of verbs as the library has them: what `gov` and `doit` do, without either."""

from governance.changes import batch, begin, pipeline, promotion, steps
from governance.changes.steps import Step


def run(session, *nodes, **options):
    """`tx run`: the transaction as it ended."""
    work = begin.begin(session, [Step(steps.ADD, node) for node in nodes], kind="add", **options)
    return batch.run(session, work)


def promotable(session, txid, approval=pipeline.NOTHING):
    return pipeline.promotable(session, txid, approval)


def stage_all(session, txid, approval=pipeline.NOTHING):
    for stage in pipeline.STAGES.values():
        stage(session, txid, approval)


def commit(session, txid, approval=pipeline.NOTHING):
    """The last stage alone."""
    return promotion.commit(pipeline.promotable(session, txid, approval), approval)


def promote(session, txid, approval=pipeline.NOTHING):
    """`tx promote`: every stage and the commit."""
    stage_all(session, txid, approval)
    return commit(session, txid, approval)
