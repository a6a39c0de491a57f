"""What is no fault in a campaign file and yet hardly meant: told by `fanzha campaign check` and `apply`."""

from collections.abc import Iterator

from shared.contracts.campaign import CampaignDefinition, Platform

MODE_NAMES = {"live": "首播", "replay": "重播"}


def platform_gaps(definition: CampaignDefinition) -> Iterator[str]:
    """A note for each platform whose own hours leave out, in some mode, a lesson that has hours of its own: whatever the platform
    sends of it is refused as `not_of_platform`."""
    for platform in definition.platforms:
        if platform.windows and (left_out := list(_left_out(definition, platform))):
            yield (
                f"注意：平台 {platform.title}（{platform.source}）的 windows 不含{'、'.join(left_out)}自己的时段，"
                "它发来的这些签到都会拒收。请在平台的 windows 里加上，或去掉平台的 windows"
            )


def _left_out(definition: CampaignDefinition, platform: Platform) -> Iterator[str]:
    covered = {(window.lesson_index, window.mode) for window in definition.windows_of(platform)}
    for index, lesson in enumerate(definition.lessons):
        has = {window.mode for window in definition.opens_closes(index)} if lesson.windows else set()
        modes = [mode for mode in platform.modes if mode in has and (index, mode) not in covered]
        if modes:
            yield f" {lesson.date}《{lesson.title}》{'和'.join(MODE_NAMES[mode] for mode in modes)}"
