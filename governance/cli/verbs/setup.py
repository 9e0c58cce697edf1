"""init, demo, completion."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from governance.base.errors import UsageError
from governance.changes.settings import Options
from governance.cli import tables
from governance.cli.decision import approval, deciding
from governance.cli.outcome import Outcome, Part
from governance.truth import workspace


def init(arguments: Namespace) -> Outcome:
    from governance import installation
    from governance.truth import inventory

    options = installation.Options(
        python=arguments.python,
        date=arguments.resolution_date,
        torch_backend=arguments.torch_backend,
        index=arguments.index,
        approval=approval(arguments),
    )
    installation.check(options)
    folder = arguments.dir or arguments.root or _folder()
    if arguments.bundle is not None and (arguments.adopt or arguments.from_env is not None):
        raise UsageError(
            "--from takes a bundle in, --adopt what runs here: one of them at a time",
            hint="gov init DIR --from FILE, then `gov adopt` in it",
        )
    if arguments.adopt or arguments.from_env is not None:
        from governance.cli.verbs import adopting

        return adopting.init(arguments, options, folder)
    if arguments.bundle is not None:
        return _from_file(arguments, folder, options)
    space = installation.prepare(folder, arguments.comfyui_dir)
    with deciding(arguments, space) as decision:
        done = decision.run("init", options=options)
    ungoverned = inventory.ungoverned(space)
    data = {**installation.to_json(done), "ungoverned": ungoverned}
    named = ", ".join(ungoverned) if arguments.verbose else inventory.few(ungoverned)
    return Outcome(data, _told(done, named), done.warnings)


def _from_file(arguments: Namespace, folder: Path, options: Options) -> Outcome:
    """ComfyUI where there is none, the workspace, the import, and the promote."""
    from governance import installation
    from governance.bundle import archive, bare
    from governance.bundle.foreign import forms
    from governance.cli.report import Voice
    from governance.cli.verbs import moving

    path = moving.given(arguments.bundle)
    is_bundle = archive.is_bundle(path)
    if is_bundle:
        moving.refuse_settings(arguments)
    else:
        forms.read(path)  # what cannot be read is told before anything is made
    allowed = approval(arguments)
    notes = []
    voice = Voice(quiet=arguments.quiet)
    if arguments.comfyui_dir is not None and is_bundle:
        notes = bare.comfyui(path, arguments.comfyui_dir, voice.say, voice.during)
    space = installation.prepare(folder, arguments.comfyui_dir)
    with deciding(arguments, space) as decision:
        if is_bundle:
            bare.begin(space)
        else:
            decision.run("init", options=options)
        done = moving.brought(decision, arguments, path, allowed)
    return done._replace(warnings=[*notes, *done.warnings])


def demo(arguments: Namespace) -> Outcome:
    from governance.cli import demo as story

    return story.play(arguments)


def completion(arguments: Namespace) -> Outcome:
    from governance.cli import completion as scripts

    text = scripts.script(arguments.shell)
    return Outcome({"shell": arguments.shell, "script": text}, [text])


def _folder() -> Path:
    """The workspace one stands in or has named, else the checkout's own."""
    try:
        return workspace.find().root
    except UsageError:
        if (workspace.CHECKOUT / "dodo.py").is_file():
            return workspace.default_folder()
        raise UsageError(
            "no folder is named for the new workspace",
            hint="`gov init DIR --comfyui-dir PATH`",
            code="no_workspace",
        ) from None


def _told(done: object, ungoverned: str) -> list[Part]:
    from governance.installation import Initialised

    assert isinstance(done, Initialised)
    parts: list[Part] = []
    if done.changes and not done.made:
        parts += tables.changes(done.changes, title="prod changed")
    word = "made" if done.made else "ready"
    parts.append(f"workspace {word}: {done.workspace.root}")
    parts.append(f"  prod is generation {done.generation} (Python {done.python})")
    if done.date:
        parts.append(
            f"  packages are resolved as of {done.date}: this ComfyUI is not recent "
            "(--resolution-date changes that)"
        )
    parts += [f"  left out of core: {e.origin} {e.raw.strip()} ({e.reason})" for e in done.skipped]
    if ungoverned:
        parts.append(f"not governed yet: {ungoverned}")
        parts.append("  `gov node add <its git url>` adopts one")
    return parts
