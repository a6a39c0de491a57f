"""What may be shown of a viewer's account to those who need not know it."""


def mask_account(viewer_id: str) -> str:
    """k****2: one character at each end, of an id long enough to stay hidden."""
    return f"{viewer_id[0]}****{viewer_id[-1]}" if len(viewer_id) >= 6 else "****"
