"""ci, for who makes nodes.  (A module called `ci` would stand in the place of its function.)"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from governance.base.errors import EXIT_FAILED, EXIT_OK, GovError, UsageError
from governance.boundaries import config, store
from governance.boundaries.config import Config
from governance.cli import ci_report
from governance.cli.outcome import Outcome
from governance.cli.report import Voice


def ci(arguments: Namespace) -> Outcome:
    from governance import installation
    from governance.ci import bench, tries, workflows
    from governance.ci.sources import DEFAULT_URL, Sources

    settings = _settings(arguments.settings)
    options = installation.Options(
        date=arguments.resolution_date,
        torch_backend=arguments.torch_backend,
        index=arguments.index,
    )
    installation.check(options)
    for file in (arguments.junit, arguments.markdown):
        _require_place(file)
    used = [workflows.read(file, Path.cwd()) for file in arguments.workflows]
    voice = Voice(quiet=arguments.quiet, verbose=arguments.verbose)
    cache = store.typed_path(arguments.cache) if arguments.cache else bench.default_cache()
    keep = store.typed_path(arguments.keep) if arguments.keep else None
    with bench.opened(cache, keep) as place:
        named = Sources(place, settings, Path.cwd(), voice.say)
        matrix = tries.matrix(
            named,
            arguments.path,
            comfyuis=arguments.comfyui,
            others=arguments.others,
            pythons=tries.require_pythons(place, arguments.pythons),
            workflows=used,
            url=arguments.comfyui_url or DEFAULT_URL,
        )
        terms = tries.Terms(settings, options, arguments.timeout)
        live = voice.live if arguments.verbose else _unheard
        telling = tries.Telling(voice.say, live, voice.during)
        results = list(tries.run(matrix, place, terms, telling))
    report = ci_report.Report(matrix.node.name, results, kept=keep)
    unwritten = _write(arguments, report)
    error = report.error() or unwritten
    failed = len([one for one in results if not one.passed])
    return Outcome(
        {
            "node": {
                "id": matrix.node.name,
                "path": str(arguments.path),
                "commit": matrix.node.commit,
            },
            "passed": len(results) - failed,
            "failed": failed,
            "runs": [one.to_json() for one in results],
        },
        report.parts(),
        [unwritten.message] if unwritten else [],
        EXIT_FAILED if error else EXIT_OK,
        error,
    )


def _unheard(stream: str, text: str) -> None:
    """What ComfyUI says is in the log, whose end a failed run shows."""


def _settings(file: Path | None) -> Config:
    if file is None:
        return config.defaults()
    path = store.typed_path(file)
    if not path.is_file():
        raise UsageError(
            f"there is no file {path}",
            hint="name a config.toml after --settings; docs/03 lists every setting",
            code="not_found",
            facts={"path": str(path)},
        )
    return config.load(path)


def _require_place(named: Path | None) -> None:
    """Told before the first run: after it, an hour of them would be lost."""
    file = None if named is None else store.typed_path(named)
    if file is not None and (not file.parent.is_dir() or file.is_dir()):
        raise UsageError(
            f"{file} cannot be written: "
            + ("it is a folder" if file.is_dir() else f"there is no folder {file.parent}"),
            hint="name a file in a folder that is there",
            code="not_found",
            facts={"path": str(file)},
        )


def _write(arguments: Namespace, report: ci_report.Report) -> GovError | None:
    """The error that kept a file from being written: what was seen is told all the same."""
    files = ((arguments.junit, report.junit), (arguments.markdown, report.markdown))
    try:
        for file, text in files:
            if file is not None:
                store.write(store.typed_path(file), text())
    except GovError as error:
        return error
    return None
