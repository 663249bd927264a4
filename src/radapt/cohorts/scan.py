"""A folder, file or archive of a known layout → a cohort draft with every split drawn."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from radapt.cachedir import cache_folder
from radapt.cohorts.archives import is_archive, remove_on_failure, unpack
from radapt.cohorts.consistency import misspelt_split, one_split_per_patient
from radapt.cohorts.draft import CohortDraft, ScanOptions
from radapt.cohorts.issue import CohortIssue, raise_errors
from radapt.cohorts.labels import Labels, doubtful_classes, label_array, parse_classes, parse_finding
from radapt.cohorts.layouts.image_files import only_folder
from radapt.cohorts.layouts.joining import join_labels, read_labels
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.registry import layout_named, recognise
from radapt.cohorts.left_out import left_out
from radapt.cohorts.modalities.renaming import rename_modalities
from radapt.cohorts.modalities.suggestions import suggest_modalities
from radapt.cohorts.patients import name_patients, patients_by_regex
from radapt.cohorts.proposals import needs_sites, proposed_folds, proposed_site, refuse_numbered_splits, small_sites
from radapt.cohorts.save import cases_path
from radapt.cohorts.splits import draw_splits
from radapt.errors import DataError, UsageError, counted, suggest


def scan(
    source: Path | str,
    layout: str | None = None,
    options: ScanOptions | None = None,
    *,
    out: Path | None = None,
) -> CohortDraft:
    """Read `source` as `layout`, or as the layout that is recognised.

    `out` is the cohort.yaml that will be written: an archive is unpacked into a folder beside it (without `out`: in the
    cache folder), and an earlier cohort of that name is not taken for the data. Splits that the source does not give
    are drawn by patient, so every case of the draft has a split. A failed scan removes what it has unpacked.

    Raises UsageError for a wrong source or option, DataError for data that do not fit the layout.
    """
    root = _plain(Path(source))
    if not root.exists():
        raise UsageError(f"{source} does not exist; expected a folder, a table, a .npz file or an archive.")
    chosen = layout_named(layout) if layout else None
    try:
        draft = _scan(root, chosen, options or ScanOptions(), out)
        draft.scanned = root
        return draft
    except OSError as error:
        raise DataError(f"{error.filename or source} cannot be read: {error.strerror or error}.") from error


def _scan(root: Path, layout: Layout | None, options: ScanOptions, out: Path | None) -> CohortDraft:
    if not is_archive(root):
        return _read(root, layout, options, out)
    unpacked = unpack(root, _plain(out).parent if out else cache_folder() / "archives")
    with remove_on_failure(unpacked.made):
        draft = _read(unpacked.folder, layout, options, out, archive=root)
    draft.made = unpacked.made
    return draft


def _read(
    root: Path, layout: Layout | None, options: ScanOptions, out: Path | None, archive: Path | None = None
) -> CohortDraft:
    if layout is None:
        layout, here = recognise(root, _own(out))
    else:
        here = _start(root, layout)
    labels = read_labels(options)
    layout_options, label_options = labels.options(options) if labels else (options, options)
    _refuse_unused(layout, layout_options)
    if archive and here == root and options.name is None:
        layout_options = replace(layout_options, name=archive.name.split(".")[0])
    draft = layout.read(here, layout_options)
    if here.is_dir() and (left := left_out(draft, here)):
        draft.notes.append(left)
        draft.source = {**draft.source, "left out": left}
    if options.modalities:
        rename_modalities(draft, options.modalities)
    else:
        draft.suggestions = suggest_modalities(draft)
    if labels:
        if options.patient_regex:
            patients_by_regex(draft, options.patient_regex, here)
        join_labels(draft, labels, label_options)
    draft = finish(draft, options, here)
    if draft.notes:
        draft.source = {**draft.source, "scan": " ".join(draft.notes)}
    return draft


def _refuse_unused(layout: Layout, options: ScanOptions) -> None:
    """Refuse options that the layout would silently ignore."""
    for role in ("label", "site", "patient", "split", "case", "sheet"):
        if getattr(options, role) and role not in layout.columns:
            missing = "is no workbook" if role == "sheet" else "has no such column"
            given = f"the table of --labels {missing}, and the layout" if options.labels else "the layout"
            fix = "" if options.labels else " Name a table with --labels TABLE --on COLUMN, or give --layout table."
            raise UsageError(f"--{role}: {given} {layout.name!r} has no table to choose the {role} from.{fix}")


def _own(out: Path | None) -> frozenset[Path]:
    """The files of an earlier cohort at `out`."""
    if out is None or not out.exists():
        return frozenset()
    return frozenset({_plain(out), _plain(cases_path(out))})


def finish(draft: CohortDraft, options: ScanOptions, root: Path | None = None) -> CohortDraft:
    """Complete the draft of a layout: kind, patients, external sites and a split for every case."""
    table = draft.table
    draft.name = re.sub(r"[\\/:\x00-\x1f]+", "-", draft.name).strip(". ") or "cohort"
    draft.kind = options.kind or draft.kind
    if draft.kind is None:
        draft.kind = "other"
        draft.notes.append("The kind of the images is unknown; 'other' is used. Set it with --kind xray, ct or mri.")
    name_patients(draft, options, root)
    _usual_splits(draft)
    if options.folds and options.external:
        raise UsageError("--external and --folds exclude each other: with folds every hospital is tested.")
    if not options.folds and not options.redraw:
        refuse_numbered_splits(draft)
        draft.notes += proposed_folds(draft.table)
    if (options.redraw or options.folds) and "split" in table:
        table["split"] = ""
    if options.external:
        _external(draft, options.external)
    draft.notes += proposed_site(draft.table)
    _check(draft)
    _draw(draft, options)
    table = draft.table
    empty = [name for name in ("site", "mask", "label") if name in table and not table[name].str.strip().any()]
    draft.table = draft.table.drop(columns=empty)
    answers = {"label", "mask", *(f"label:{name}" for name in draft.findings)}
    if answers.isdisjoint(draft.table.columns) and not _said_unlabelled(draft):
        draft.notes.append("Neither labels nor masks: join a table of them with --labels TABLE --on COLUMN.")
    return draft


def _said_unlabelled(draft: CohortDraft) -> bool:
    return any(note.startswith(("No label", "Every label is")) for note in draft.notes)


def _plain(source: Path) -> Path:
    """The absolute path with its last component as given: a link keeps its name."""
    path = source.absolute()
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name


def _start(root: Path, layout: Layout) -> Path:
    """The folder where `layout` starts: `root`, or the only folder inside it."""
    here = root
    while not layout.recognise(here):
        inner = only_folder(here)
        if inner is None:
            return root
        here = inner
    return here


def _usual_splits(draft: CohortDraft) -> None:
    """Split names that data sets use, such as `training` and `Test` → those of the contract."""
    if "split" not in draft.table:
        draft.table["split"] = ""
    words = draft.table["split"].str.strip()
    meant = {word: misspelt_split(word) or word for word in words.unique()}
    draft.table["split"] = words.map(meant).astype(object)
    changed = [f"{word!r} as {usual!r}" for word, usual in meant.items() if word != usual]
    if changed:
        draft.notes.append(f"Split names are read as the usual ones: {', '.join(changed)}.")


def _external(draft: CohortDraft, external: tuple[str, ...]) -> None:
    """Make sites separate test sets. All cases of a patient seen at such a site move with it."""
    table = draft.table
    if "site" not in table:
        raise UsageError(needs_sites("--external", table))
    sites = sorted(set(table["site"]) - {""})
    taken: dict[str, str] = {}
    for text in external:
        site, _, word = text.partition("=")
        if site not in sites:
            raise UsageError(f"--external {text}: there is no site {site!r}. {suggest(site, sites)}")
        word = word or site
        if misspelt_split(word) or word in ("train", "val"):
            raise UsageError(f"--external {text}: {word!r} is not a name for a test set; write {site}=NAME.")
        at_site = set(table.loc[table["site"] == site, "patient"])
        for patient in at_site:
            if taken.setdefault(patient, word) != word:
                raise DataError(f"Patient {patient!r} has cases at two external sites; give both sites the same name.")
    moved = table["patient"].map(taken)
    elsewhere = int((moved.notna() & ~table["site"].isin([text.partition("=")[0] for text in external])).sum())
    if elsewhere:
        draft.notes.append(
            f"{counted(elsewhere, 'case')} of other sites moved with their patients into the external test sets."
        )
    table["split"] = moved.where(moved.notna(), table["split"]).astype(object)


def _check(draft: CohortDraft) -> None:
    """Raise the errors with which the cohort could not be loaded. A label with a single class becomes metadata."""
    table = draft.table
    cases, patients, words = (list(table[name]) for name in ("case", "patient", "split"))
    file, lines = draft.source_table.name if draft.source_table else None, draft.lines
    unusable = np.flatnonzero(table["case"].duplicated() | (table["case"] == ""))
    message = "The case is empty or not unique."
    problems = [CohortIssue("error", "duplicate-case", message, cases[at], lines[at], file) for at in unusable]
    raise_errors(problems, f"The table of {draft.name}")
    problems = one_split_per_patient(patients, words, cases, lines, file or draft.name)
    fix = " Give --redraw to ignore the splits and draw new ones by patient." if problems else ""
    raise_errors(problems, f"The splits of {draft.name} cannot be kept.{fix} It")
    labels, findings = _labels(draft)
    problems = [
        CohortIssue("error", "bad-label", message, cases[at], lines[at], file, fix)
        for parsed in (labels, *findings.values())
        if parsed
        for at, (message, fix) in parsed.wrong.items()
    ]
    raise_errors(problems, f"The table of {draft.name}")
    for name, finding in findings.items():
        table[f"label:{name}"] = ["" if value is None else str(value) for value in finding.values]
    if labels and len(labels.classes) == 1 and not draft.classes:
        draft.table = table.rename(columns={"label": "original_label"})
        draft.notes.append(f"Every label is {labels.classes[0]!r}, so it is metadata; choose another with --label.")
    elif labels:
        draft.classes = labels.classes
        if said := doubtful_classes(labels.classes):
            draft.notes.append(said)


def _labels(draft: CohortDraft) -> tuple[Labels | None, dict[str, Labels]]:
    table = draft.table
    labels = parse_classes(list(table["label"]), draft.classes) if "label" in table else None
    return labels, {name: parse_finding(list(table[f"label:{name}"]), name) for name in draft.findings}


def _draw(draft: CohortDraft, options: ScanOptions) -> None:
    table = draft.table
    if options.folds:
        if options.folds.by_site and not ("site" in table and table["site"].str.strip().any()):
            raise UsageError(needs_sites("--folds site", table))
        if options.folds.column is not None and options.folds.column not in table:
            raise UsageError(f"--folds column:{options.folds.column}: {suggest(options.folds.column, table.columns)}")
        draft.folds = options.folds
        draft.notes.append(f"Every labelled patient is tested once, out of fold, {options.folds.words}.")
        if options.folds.by_site and not options.folds.merge:
            draft.notes += small_sites(table)
        return
    if table["split"].all():
        if table["split"].isin(("train", "val")).all():
            draft.notes.append("The source has no test set, so nothing can be evaluated; --redraw draws one.")
        return
    table["split"] = draw_splits(
        label_array(*_labels(draft), len(table)),
        table["patient"].to_numpy(dtype=object),
        table["split"].to_numpy(dtype=object),
        options.fractions,
        np.random.default_rng(options.seed),
    )
    unit = "image, patients unknown" if draft.patients_unknown else "patient"
    draft.notes.append(f"Splits are drawn by {unit}, from seed {options.seed}.")
    shares = f"val {options.fractions.val:g}, test {options.fractions.test:g}"
    draft.source = {**draft.source, "splits": f"drawn by {unit}, seed {options.seed}, {shares}"}
