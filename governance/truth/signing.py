"""Signatures of the audit log with the operator's own ssh key (`ssh-keygen -Y`).

What is signed is a line of the log without its signature, for the namespace `gov`.  Who may sign
is a file of ssh's own (ALLOWED SIGNERS in ssh-keygen(1)).
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from governance.base.errors import GovError, Refused, UsageError
from governance.boundaries import operator, process, store
from governance.truth.workspace import Workspace

NAMESPACE = "gov"
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"


def require(workspace: Workspace) -> None:
    """Raises Refused where the policy wants a signature and nobody could sign, before any work."""
    if is_required(workspace) and operator.signing_key() is None:
        raise Refused(
            "policy.require_signature is refuse, and no key is named that signs",
            hint=f"name yours: export {operator.KEY_VARIABLE}=~/.ssh/id_ed25519, "
            f"or signing_key in {operator.path()}",
            code="signature_required",
        )


def is_required(workspace: Workspace) -> bool:
    return workspace.config.text("policy.require_signature") == "refuse"


def allowed_signers(workspace: Workspace) -> Path | None:
    named = workspace.config.text("policy.allowed_signers")
    return workspace.root / store.typed_path(named) if named else None


def sign(workspace: Workspace, data: bytes, at: str) -> str | None:
    """The signature in one line; None where no key is named.

    Raises GovError (code `not_signed`) where the key cannot sign, and Refused for a key that the
    workspace's allowed signers do not hold.
    """
    key = operator.signing_key()
    if key is None:
        return None
    if not key.is_file():
        raise UsageError(
            f"the key that is to sign is not there: {key}",
            hint=f"name another: export {operator.KEY_VARIABLE}=~/.ssh/id_ed25519",
            code="no_key",
        )
    done = _keygen("sign", "-n", NAMESPACE, "-f", str(key), data=data)
    if not done.ok or _BEGIN not in done.stdout:
        raise GovError(
            f"ssh-keygen did not sign with {key}: {_last(done.stderr)}",
            hint=f"give the key to your agent: ssh-add {_private(key)}",
            code="not_signed",
        )
    signature = "".join(done.stdout.replace(_BEGIN, "").replace(_END, "").split())
    _require_allowed(workspace, key, data, signature, at)
    return signature


def _require_allowed(workspace: Workspace, key: Path, data: bytes, signature: str, at: str) -> None:
    allowed = allowed_signers(workspace)
    if allowed is None or not is_required(workspace):
        return
    if signer(data, signature, allowed, at) is None:
        raise Refused(
            f"{key} is not among the allowed signers of {allowed}",
            hint=f"sign with a key that is, or let its owner add this line: {_line_of(key)}",
            code="not_allowed_signer",
        )


def _private(key: Path) -> Path:
    return key.with_suffix("") if key.suffix == ".pub" else key


def _line_of(key: Path) -> str:
    public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    try:
        kind, text, *_ = public.read_text().split()
    except (OSError, ValueError):
        return f"NAME {public.name}"
    return f"NAME {kind} {text}"


def signer(data: bytes, signature: str, allowed: Path, at: str) -> str | None:
    """The name of who signed; None where the signature does not fit, or its key is not allowed at
    that time."""
    require_file(allowed)
    with tempfile.TemporaryDirectory(prefix="gov-signature-") as folder:
        file = Path(folder) / "signature"
        file.write_text(f"{_BEGIN}\n{signature}\n{_END}\n")
        common = ("-s", str(file), "-f", str(allowed), *_as_of(at))
        named = _keygen("find-principals", *common, data=b"")
        for principal in named.stdout.splitlines():
            if _keygen("verify", *common, "-n", NAMESPACE, "-I", principal, data=data).ok:
                return principal
    return None


def require_file(allowed: Path) -> None:
    if not allowed.is_file():
        raise UsageError(
            f"no file of allowed signers: {allowed}",
            hint="write a line `NAME KEYTYPE KEY` for each who may sign (man ssh-keygen)",
            code="no_allowed_signers",
            facts={"path": str(allowed)},
        )


def _as_of(at: str) -> tuple[str, ...]:
    """A key that was replaced since was the right one then."""
    digits = re.sub(r"[^0-9]", "", at)
    return ("-O", f"verify-time={digits}Z") if len(digits) == 14 else ()


def _keygen(action: str, *words: str, data: bytes) -> process.Completed:
    environ = {**os.environ, "LC_ALL": "C"}
    argv = ["ssh-keygen", "-Y", action, *words]
    return process.run(argv, env=environ, input_text=data.decode(), timeout=60)


def _last(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]
