"""Words for the samples of a cohort and their observation window, in summaries, messages and the report."""

from emerge_ehr import components
from emerge_ehr.config import Cohort, Config
from emerge_ehr.datasets.tasks import SampleWords, Task

STAY = SampleWords("stay", "ICU stay", "intensive-care stay")
ADMISSION = SampleWords("admission", "hospital admission", "hospital admission")


def sample(config: Config) -> SampleWords:
    """What a sample of the config's cohort is called: the task's word if it has one, else that of the anchor."""
    task: Task = components.build("task", config.task)
    return task.sample or anchored(config.cohort)


def predicted(config: Config) -> SampleWords:
    """What a row of the artefacts and predictions is called: as ``sample``, unless a stay is several of them (landmarks)."""
    words = sample(config)
    return SampleWords("sample", "sample", words.kind) if config.cohort.landmarks else words


def anchored(rule: Cohort) -> SampleWords:
    """What a sample is called according to the cohort's anchor: an ICU stay or a hospital admission.

    >>> anchored(Cohort()).word, anchored(Cohort(anchor="hospital")).word
    ('stay', 'admission')
    """
    return STAY if rule.anchor == "icu" else ADMISSION


def candidate(config: Config) -> SampleWords:
    """What the rows are called that the cohort's rules choose from: ICU stays, unless the task has its own word for a sample.

    With the anchor "hospital", an admission is represented by its first ICU stay.
    """
    task: Task = components.build("task", config.task)
    return task.sample or STAY


def window(rule: Cohort) -> str:
    """The observation window, for summaries. The task's word for a sample is not used, so that existing summaries stay valid.

    >>> window(Cohort()), window(Cohort(anchor="hospital", window="whole", bin_hours=24))
    ('first 48 h of the stay', 'the whole admission in steps of 24 h')
    >>> window(Cohort(min_stay_hours=6, landmarks=(6, 48)))
    'the stay so far'
    """
    word = anchored(rule).word
    if rule.landmarks:
        return f"the {word} so far" if rule.bin_hours == 1 else f"the {word} so far in steps of {rule.bin_hours} h"
    part = f"the whole {word}" if rule.window == "whole" else f"{rule.window} {rule.window_hours} h of the {word}"
    return part if rule.bin_hours == 1 else f"{part} in steps of {rule.bin_hours} h"


def observed(rule: Cohort, of: SampleWords) -> str:
    """The part of the samples that a model saw, for the report.

    >>> observed(Cohort(), STAY), observed(Cohort(window="whole"), ADMISSION)
    ('the first 48 hours of intensive-care stays', 'all of hospital admissions')
    >>> observed(Cohort(min_stay_hours=6, landmarks=(6, 24, 48)), STAY)
    'the first 6, 24 or 48 hours of intensive-care stays'
    """
    if rule.landmarks:
        *most, last = map(str, rule.landmarks)
        return f"the first {', '.join(most)}{' or ' if most else ''}{last} hours of {of.kind}s"
    part = "all" if rule.window == "whole" else f"the {rule.window} {rule.window_hours} hours"
    return f"{part} of {of.kind}s"
