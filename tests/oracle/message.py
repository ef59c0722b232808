"""E-mails with the e-book, for the oracle: semantics 14. Shares no code with `pipeline`."""

from __future__ import annotations

from tests.oracle.spelling import text
from tests.oracle.who import Fact

LINK = "ebook"
ASSET = "ebook"
SOFT = ("soft", "transient", "temporary")
AFTER_SEND = {"email_unsubscribed": "unsubscribed", "email_complained": "complained"}


def opens(fact: Fact) -> str | None:
    """14: the message whose wait this sending opens; None if it opens none."""
    holds = fact.type == "email_sent" and LINK in (fact.get("link_ids") or ())
    message: str | None = fact.get("message_id")
    return message if holds else None


def ends_message(message: str, sent: Fact, fact: Fact, remember: int) -> str | None:
    """14: the reason with which `fact` ends the wait of a message, whenever that is; else None.

    A click, a bounce or a download may come before the send; a click or bounce received before it only if it had not
    occurred longer than `remember` (ms) before the send was received.
    """
    if fact.type == "asset_downloaded":
        return "downloaded" if fact.get("asset") == ASSET else None
    if fact.type in AFTER_SEND:
        return AFTER_SEND[fact.type] if fact.event_time > sent.event_time else None
    if fact.get("message_id") != message:
        return None
    if not remembered(sent, fact, remember):
        return None
    if fact.type == "email_clicked":
        return "clicked" if fact.get("link_id") == LINK and fact.get("confidence") != "machine" else None
    return "unreachable" if fact.type == "email_bounced" and not soft(fact) else None


def remembered(sent: Fact, fact: Fact, remember: int) -> bool:
    """14: is a click or bounce still known when the message is sent, if it was received before?"""
    return fact.knowledge >= sent.knowledge or sent.received_at - fact.occurred_at <= remember


def soft(fact: Fact) -> bool:
    """14: is a bounce told soft or transient, in whatever spelling?"""
    told = (text(fact.get("kind")) or "").lower().replace("bounce", "")
    return "".join(letter for letter in told if letter.isalnum()) in SOFT
