"""The items of three checklists, in our own words, with the topics of `evidence_of` that speak to them."""

from dataclasses import dataclass

Item = tuple[str, str, tuple[str, ...], bool]
"""Number, what it is about, topics with evidence, and whether they answer it wholly."""


@dataclass(frozen=True)
class Checklist:
    """A checklist, the file it is written to, and where it was published."""

    name: str
    file: str
    reference: str
    items: tuple[Item, ...]


CLAIM = Checklist(
    "CLAIM 2024",
    "claim-2024",
    "Tejani et al., Radiology: Artificial Intelligence 2024, doi 10.1148/ryai.240300",
    (
        ("1", "the title names the kind of method", (), False),
        ("2", "a summary of design, methods, results and conclusion", (), False),
        ("3", "the clinical background and the role of the method", (), False),
        ("4", "aims and hypotheses", (), False),
        ("5", "looking back or forward in time", (), False),
        ("6", "the goal of the study", (), False),
        ("7", "where the data come from", ("data",), False),
        ("8", "who was included and left out", (), False),
        ("9", "preparation of the images", ("preprocessing",), True),
        ("10", "parts of the data that were selected", (), False),
        ("11", "removal of identities", (), False),
        ("12", "what was done about missing data", ("missing",), False),
        ("13", "how images were acquired", (), False),
        ("14", "how the reference standard was defined", ("labels",), False),
        ("15", "why this reference standard", (), False),
        ("16", "who made the annotations", (), False),
        ("17", "how the test set was annotated", (), False),
        ("18", "how far annotators agree", (), False),
        ("19", "how data were divided", ("partition",), True),
        ("20", "on what level the parts are disjoint", ("level",), True),
        ("21", "the intended number of cases", (), False),
        ("22", "the model in detail", ("model",), False),
        ("23", "software and its versions", ("software",), True),
        ("24", "where parameters start from", ("weights",), True),
        ("25", "how training was done", ("training",), False),
        ("26", "how the final model was selected", ("selection",), True),
        ("27", "ensembles, if any", (), False),
        ("28", "the metrics", ("metrics",), True),
        ("29", "significance and uncertainty", ("uncertainty", "significance"), True),
        ("30", "robustness", ("sites", "sequences", "groups", "seeds"), False),
        ("31", "means to explain decisions", (), False),
        ("32", "tests on data of the same source", ("internal",), True),
        ("33", "tests on data of another source", ("external",), False),
        ("34", "registration as a trial", (), False),
        ("35", "numbers of patients through the study", ("counts",), False),
        ("36", "who they are, in each part", (), False),
        ("37", "performance with its uncertainty", ("result",), True),
        ("38", "accuracy of diagnosis and its precision", ("result",), False),
        ("39", "analysis of failures", ("failures",), False),
        ("40", "limits of the study", (), False),
        ("41", "what it means for practice", (), False),
        ("42", "where the protocol can be read", (), False),
        ("43", "access to software, models and data", ("files",), False),
        ("44", "funding", (), False),
    ),
)

TRIPOD_AI = Checklist(
    "TRIPOD+AI",
    "tripod-ai",
    "Collins et al., BMJ 2024, doi 10.1136/bmj-2023-078378",
    (
        ("1", "the title", (), False),
        ("2", "the abstract", (), False),
        ("3", "background: context, users, known inequalities", (), False),
        ("4", "objectives", (), False),
        ("5", "sources of data and dates", ("data",), False),
        ("6", "setting, eligibility and treatment of participants", ("several sites",), False),
        ("7", "preparation of data", ("preprocessing",), False),
        ("8", "the outcome and its assessment", ("labels",), False),
        ("9", "the predictors", (), False),
        ("10", "how the number of participants came about", (), False),
        ("11", "missing data", ("missing",), False),
        (
            "12", "analysis: use of data, model, internal checks, heterogeneity, performance",
            ("partition", "model", "selection", "metrics", "uncertainty"), False,
        ),
        ("13", "what was done about unequal classes", (), False),
        ("14", "fairness between groups", ("groups",), False),
        ("15", "what the model gives, and thresholds", (), False),
        ("16", "differences between training and evaluation data", (), False),
        ("17", "ethical approval", (), False),
        ("18", "open science: funding, interests, protocol, data, code", ("files",), False),
        ("19", "involvement of patients and the public", (), False),
        ("20", "participants: flow, characteristics, comparisons", ("counts",), False),
        ("21", "numbers of participants and outcomes in each analysis", ("counts",), False),
        ("22", "the full model, so that others can use it", ("files",), False),
        ("23", "performance with intervals, and in groups or sites", ("result", "sites", "groups"), False),
        ("24", "updates of the model", (), False),
        ("25", "interpretation", (), False),
        ("26", "limitations", (), False),
        ("27", "use in care: poor inputs, skills, next steps", (), False),
    ),
)  # fmt: skip

METRICS = Checklist(
    "METRICS",
    "metrics",
    "Kocak et al., Insights into Imaging 2024, doi 10.1186/s13244-023-01572-w",
    (
        ("1", "a reporting guideline was followed", (), False),
        ("2", "eligible patients represent those in practice", (), False),
        ("3", "a strong reference standard", (), False),
        ("4", "data of several centres", ("several sites",), False),
        ("5", "images that practice has", (), False),
        ("6", "acquisition parameters", (), False),
        ("7", "time between image and reference", (), False),
        ("8", "how structures were outlined", (), False),
        ("9", "automatic outlines were evaluated", (), False),
        ("10", "outlines of the test set as one reader or tool would give", (), False),
        ("11", "suitable preparation of images", ("preprocessing",), False),
        ("12", "standard software for features", ("software",), False),
        ("13", "parameters of feature extraction", ("preprocessing", "model"), False),
        ("14", "features that are not robust were removed", (), False),
        ("15", "redundant features were removed", (), False),
        ("16", "number of features fits the number of patients", (), False),
        ("17", "robustness of end-to-end networks", ("seeds", "sites", "sequences"), False),
        ("18", "proper division of data", ("partition", "level"), True),
        ("19", "confounding factors", ("groups",), False),
        ("20", "metrics that fit the task", ("metrics",), False),
        ("21", "uncertainty", ("uncertainty",), True),
        ("22", "calibration", ("calibration",), False),
        ("23", "single sequences are inferior, or only one was used", ("sequences",), False),
        ("24", "comparison with what does not use images", (), False),
        ("25", "comparison with simple models", ("simpler",), False),
        ("26", "internal tests", ("internal",), True),
        ("27", "external tests", ("external",), False),
        ("28", "data can be had", (), False),
        ("29", "code can be had", (), False),
        ("30", "the model can be had", ("files",), False),
    ),
)

CHECKLISTS = (CLAIM, TRIPOD_AI, METRICS)
