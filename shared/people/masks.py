"""What may be shown of an account or a phone to those who need not know it."""


def mask_account(viewer_id: str) -> str:
    """k****2: one character at each end, of an id long enough to stay hidden."""
    return f"{viewer_id[0]}****{viewer_id[-1]}" if len(viewer_id) >= 6 else "****"


def mask_phone(phone: str) -> str:
    """The phone with its middle hidden: 138****5678; a short one shows its last two digits only."""
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 11 else f"****{phone[-2:]}"
