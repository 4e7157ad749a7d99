"""`sightline recipe`: which bundles a line judges with, and how another takes its place."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

HELP = """Bundles of a line: look at them, try one out, put one in use, go back to the one before.

Workers that look at the folder take up what changes there within seconds, between two batches, without a restart. A
bundle with golden images (golden/good/*.png must pass, golden/bad/*.png must fail) is used only if it judges each of
them rightly.
"""

Recipes = Annotated[Path, typer.Option("--recipes", help="Folder of the recipes.", envvar="SIGHTLINE_RECIPES")]
Device = Annotated[str, typer.Option(help="To try it on: auto, cpu or cuda.")]
EngineName = Annotated[str, typer.Option(help="To try it with: auto, torch or openvino.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
DEFAULT_RECIPES = Path("recipes")


def list(  # noqa: A001 - the command's name
    recipes: Recipes = DEFAULT_RECIPES, as_json: AsJson = False
) -> int:
    """List what lies in the recipes folder: name, bundle, threshold, since when, and what rollback goes back to.

    Exit code 1 if one can't be read.
    """
    from worker.versions import versions_in

    found = versions_in(recipes)
    if as_json:
        print(json.dumps([version.to_json() for version in found]))
    else:
        console = Console(highlight=False, soft_wrap=True, markup=False)
        for version in found:
            before = f"before: {version.before[:12]}" if version.before else "nothing before"
            said = f"{version.label}  threshold {version.threshold:.4g}  since {version.activated}  {before}"
            console.print(f"{version.name:20}  {version.problem or said}")
    return int(any(version.problem for version in found))


def check(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    device: Device = "auto",
    engine: EngineName = "auto",
    as_json: AsJson = False,
) -> int:
    """Read a bundle, verify its digest and judge its golden images. Exit code 3 if it is no good."""
    from worker.recipes import try_out

    tried = try_out(bundle, device=device, engine=engine)
    print(json.dumps(tried.to_json()) if as_json else f"{bundle} is good: {tried.sentence}")
    return 0


def activate(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    name: Annotated[str | None, typer.Option("--as", help="Name of the recipe; by default that in the bundle.")] = None,
    recipes: Recipes = DEFAULT_RECIPES,
    device: Device = "auto",
    engine: EngineName = "auto",
    as_json: AsJson = False,
) -> int:
    """Check a bundle, copy it into the recipes folder and put it in use at once. Exit code 3 if it is no good."""
    from model.bundle import read_manifest
    from worker.recipes import try_out
    from worker.versions import activate as put

    recipe = name or read_manifest(bundle)[0].name
    version = put(bundle, recipes, recipe, lambda copy: try_out(copy, device=device, engine=engine))
    return _tell(recipes, recipe, version, as_json=as_json)


def rollback(
    name: Annotated[str, typer.Argument(help="Of the recipe.")],
    recipes: Recipes = DEFAULT_RECIPES,
    as_json: AsJson = False,
) -> int:
    """Put the version before back in use. Exit code 3 if it is damaged, 6 if there is none."""
    from model.bundle import read_bundle
    from worker.versions import rollback as put_back

    return _tell(recipes, name, put_back(recipes, name, read_bundle), as_json=as_json)


def _tell(recipes: Path, name: str, version: Path, *, as_json: bool) -> int:
    from model.bundle import label, read_manifest

    manifest, digest = read_manifest(version)
    said = label(manifest.name, digest)
    if as_json:
        print(json.dumps({"name": name, "label": said, "digest": digest, "path": str(version)}))
    else:
        print(f"recipe {name} in {recipes} is {said} from now on")
    return 0
