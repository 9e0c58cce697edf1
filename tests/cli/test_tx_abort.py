"""gov tx abort: the transaction is over, its candidate is gone, prod was not touched."""

import pytest
from support.fingerprint import truth_and_prod
from support.refusal import assert_refused


@pytest.mark.parametrize("name", ["completed", "failed", "conflicting"])
def test_what_is_not_over_can_be_aborted(settled, name):
    site, txid = settled.site, getattr(settled, name)
    before = truth_and_prod(site.root)
    told = site.gov("tx", "abort", txid).ok()
    assert f"{txid} is aborted" in told.out
    assert not (site.root / ".venv-candidate" / txid).exists()
    assert not (site.root / "state/work" / txid).exists()
    assert truth_and_prod(site.root) == before
    assert site.gov.json("tx", "inspect", txid).data["status"] == "aborted"


def test_the_document_is_the_transaction(settled):
    data = settled.site.gov.json("tx", "abort", settled.core).ok().data
    assert (data["txid"], data["status"]) == (settled.core, "aborted")
    assert data["ended_at"]


def test_keep_keeps_the_candidate(settled):
    settled.site.gov("tx", "abort", settled.completed, "--keep").ok()
    assert (settled.site.root / ".venv-candidate" / settled.completed).is_dir()


@pytest.mark.parametrize("name", ["promoted", "aborted"])
def test_what_is_over_stays_as_it_is(settled, name):
    txid = getattr(settled, name)
    assert_refused(settled.site, "tx", "abort", txid, code=3, says=name, named="bad_transition")
