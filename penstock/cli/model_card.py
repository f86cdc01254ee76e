"""``penstock models card``: the model card of a version."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from penstock.cli.compose import decisions_of
from penstock.cli.context import of
from penstock.cli.installation import installation
from penstock.cli.judged_again import run_of
from penstock.errors import UsageError


def card(ctx: typer.Context, version: Annotated[str, typer.Argument(metavar="VERSION")]) -> None:
    """Print a version's model card (Markdown), verified. Exit 2: there is no such version, or it has no card."""
    from retraining.registration import MODEL_CARD, card_reference

    context = of(ctx)
    with installation(context, context.pipeline()) as system:
        _, _, trained = run_of(decisions_of(system), version)
        held = trained.lineage.get(MODEL_CARD)
        if held is None:
            raise UsageError(f"models card: version {version} was recorded without a card")
        reference = card_reference(held)
        text = system.artifacts.get(reference.uri, reference.digest, reference.signature).decode()
    context.show({"version": version, "card": text, "reference": msgspec.json.decode(held)}, text.rstrip("\n"))
