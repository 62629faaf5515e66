"""What the studies of whole tables draw and say; the pages and the report do without it."""
from collections.abc import Callable
import io
import math
import textwrap
from itertools import combinations

import numpy as np
import pandas as pd

from gradeclass.data.dataset import coded_columns
from gradeclass.data.synthetic import grade_positions
from gradeclass.evaluation.associations import ExploreError, SURE, associate, axis_title, find_column, rank_interval
from gradeclass.evaluation.explore import BOX, as_groups, grade_shares
from gradeclass.evaluation.figures import COLOURS, legend_below, new_figure, plot_style
from gradeclass.evaluation.labels import find_cluster
from gradeclass.evaluation.metrics import MIN_SIZE
from gradeclass.evaluation.resampling import share_interval
from gradeclass.schema import Column, Schema
from gradeclass.words import listed, p_value, percent


def find_score(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds
)->Column:              # The score column
    "The score that grades are cut from, or a sentence that says that there is none"
    if not schema.score: raise ExploreError(f"schema {schema.name} has no score column: show the grade instead")
    return find_column(frame, schema, schema.score)


def compare_links(
    alone:pd.DataFrame, # What `association_table` returned
    given:pd.DataFrame, # The same with one column taken out first
)->pd.DataFrame:        # Index column, largest loss first: title, alone, given
    "Which columns lose strength once another one is known"
    both = pd.DataFrame({"title": given.title, "alone": alone.strength.reindex(given.index), "given": given.strength})
    return both.loc[(both.given - both.alone).sort_values(kind="stable").index]


def links_sentence(
    table:pd.DataFrame, # What `association_table` returned
)->str:                 # Markdown, two or three sentences
    "Which columns go with the grade, and for which that may be chance"
    sure = table[table.p < SURE]
    first = f"Once {table.attrs['given']} is taken out, " if table.attrs.get("given") else ""
    if sure.empty:
        return f"{first or 'Of all, '}none of {len(table)} columns goes with the grade more than chance explains."
    named = []
    for row in sure.itertuples():
        end = f", better with *{row.better_with}*" if row.better_with else ""
        named.append(f"{row.title} ({row.strength:.2f}{end})")
    verb = "goes" if len(sure) == 1 else "go"
    sentences = [f"**{first}{len(sure)} of {len(table)} columns {verb} with the grade more than chance explains:** "
                 f"{listed(named, 8)}."]
    if len(sure) < len(table):
        sentences.append(f"The other {len(table) - len(sure)} may go with it by chance alone, which does not prove "
                         f"that they have no link.")
    protected = list(sure.title[sure.role == "protected"])
    sentences.append(f"Protected and linked: {listed(protected)}." if protected
                     else "No protected column is among those found.")
    return " ".join(sentences)


def explains_sentence(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds
    name:str,           # Column to describe
)->str:                 # Markdown, one sentence
    "Which share of the differences between grades one column explains by itself"
    found = associate(frame, find_column(frame, schema, schema.target), find_column(frame, schema, name))
    return (f"**{schema.by_name[name].title} alone explains {percent(found.strength**2)} of the variance of the "
            f"grades' ranks** (95 % interval {percent(found.low**2)} to {percent(found.high**2)}, "
            f"{found.students:,} students).")


def precision_sentence(
    n:int, # Students
)->str:    # Markdown, two sentences
    "What so many students can and cannot show"
    low, high = share_interval(n//2, n)
    found = (strength for strength in range(1, 100) if rank_interval(strength/100, n - 2)[0] > 0)
    weakest = next(found, 100)/100
    return (f"With {n:,} students, a share near one half is known to about ±{50*(high - low):.0f} points, and a single "
            f"link weaker than {weakest:.2f} cannot be told from chance, before any correction for many columns.")


def trend(
    x:pd.Series, # Numbers, shape (n,)
    y:pd.Series, # Numbers, shape (n,)
)->tuple[float, float, float]: # Slope, intercept, R²; NaN where x does not vary
    "Least-squares line"
    from scipy.stats import linregress
    if len(x) < 3 or x.nunique() < 2: return math.nan, math.nan, math.nan
    line = linregress(x, y)
    return float(line.slope), float(line.intercept), float(line.rvalue**2) if y.nunique() > 1 else math.nan


def cramers_v(
    first:pd.Series,  # Categories, shape (n,)
    second:pd.Series, # Categories, shape (n,)
)->float:             # From 0 to 1; NaN where one of them does not vary
    "Cramér's V, adjusted for what chance gives"
    from scipy.stats import chi2_contingency
    counts = pd.crosstab(first, second).to_numpy()
    rows, columns, n = *counts.shape, counts.sum()
    if min(rows, columns) < 2 or n < 3: return math.nan
    expected = (rows - 1)*(columns - 1)/(n - 1)
    excess = max(0.0, chi2_contingency(counts, correction=False).statistic/n - expected)
    smaller = min(rows - (rows - 1)**2/(n - 1), columns - (columns - 1)**2/(n - 1)) - 1
    return min(1.0, math.sqrt(excess/smaller)) if smaller > 0 else math.nan


def pair_strength(
    frame:pd.DataFrame, # Clean table
    first:Column,       # Any kind
    second:Column,      # Any kind
)->float:               # From -1 to 1; from 0 to 1 where a category takes part
    "How strongly two columns go together"
    if first.kind == second.kind == "category": return cramers_v(frame[first.name], frame[second.name])
    outcome, other = (second, first) if first.kind == "category" else (first, second)
    found = associate(frame, outcome, other)
    return found.strength*(found.sign or 1)


def association_matrix(
    frame:pd.DataFrame,            # Clean table
    schema:Schema,                 # What it holds
    names:list[str]|None=None,     # Columns to compare; inputs, protected columns, score and grade unless given
)->pd.DataFrame:                   # Names by names
    "How strongly each pair of columns goes together"
    wanted = schema.names("feature", "audit", "score", "target")
    chosen = names or [name for name in wanted if name in frame and frame[name].notna().any()]
    if len(chosen) < 2:
        raise ExploreError("the table has fewer than two columns with values: there is nothing to compare")
    columns = [find_column(frame, schema, name) for name in chosen]
    matrix = np.eye(len(columns))
    for row, first in enumerate(columns):
        for place, second in enumerate(columns[:row]):
            matrix[row, place] = matrix[place, row] = pair_strength(frame, first, second)
    return pd.DataFrame(matrix, index=chosen, columns=chosen)


STRONG = 0.5  # Inputs with such an association say much the same

def overlap_sentence(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds
)->str:                 # Markdown, one sentence
    "Which inputs say much the same"
    inputs = [column.name for column in schema.inputs(audit=True) if column.name in frame]
    names = [name for name in inputs if frame[name].notna().any()]
    if len(names) < 2: return "Fewer than two inputs have values: there is nothing to compare."
    matrix = association_matrix(frame, schema, names)
    pairs = {(a, b): matrix.loc[a, b] for a, b in combinations(names, 2) if abs(matrix.loc[a, b]) > 0}
    if not pairs: return "No pair of inputs varies enough to compare."
    ordered = sorted(pairs, key=lambda pair: -abs(pairs[pair]))
    titles = {name: schema.by_name[name].title for name in names}
    strong = [f"{titles[a]} and {titles[b]} ({pairs[a, b]:.2f})" for a, b in ordered if abs(pairs[a, b]) >= STRONG]
    if strong:
        return (f"**Inputs with an association of {STRONG} or more:** {'; '.join(strong[:6])}. A model may use either "
                f"of such a pair.")
    a, b = ordered[0]
    return (f"No two inputs have an association of {STRONG} or more; the strongest is {titles[a]} with {titles[b]} "
            f"({pairs[a, b]:.2f}). Each column says something of its own.")


def describe_source(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds
    source:str,         # Where it comes from; 'sample' is the built-in synthetic table
)->str:                 # Markdown
    "Who the students are, and whether they exist"
    size = f"{len(frame):,} rows and {frame.shape[1]} columns, read as *{schema.title or schema.name}*"
    if source != "sample": return f"This table is `{str(source).replace(chr(92), '/').split('/')[-1]}`: {size}."
    return (f"**These students are synthetic.** The built-in sample has {size}. Shares and effects were set to "
            f"resemble the published table, the inputs were drawn independently of each other, and no row stands for a "
            f"person. What follows describes the sample; run this notebook on your own table to learn about students.")


def cell_summary(
    cells:pd.Series, # One clean column
)->str:              # Such as 'median 9.7, from 0 to 20' or 'most often No (70 %)'
    "A column in a few words"
    cells = cells.dropna()
    if not len(cells): return "empty"
    if cells.dtype == "float64": return f"median {cells.median():.3g}, from {cells.min():.3g} to {cells.max():.3g}"
    counts = cells.value_counts()
    return (f"most often {counts.index[0]} ({percent(counts.iloc[0]/len(cells))})" if counts.iloc[0] > 1
            else "all different")


def missing_table(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it should hold
)->pd.DataFrame:        # Index column: title, role, missing, share, distinct, summary
    "Each column of the schema: how many cells are empty, and what the others hold"
    absent = pd.Series(np.nan, index=frame.index)
    rows = {}
    for column in schema.columns:
        cells = frame.get(column.name, absent)
        rows[column.name] = {"title": column.title, "role": column.role, "missing": int(cells.isna().sum()),
                             "share": float(cells.isna().mean()), "distinct": cells.nunique(),
                             "summary": cell_summary(cells)}
    return pd.DataFrame.from_dict(rows, "index").rename_axis("column")


def missing_sentence(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it should hold
)->str:                 # One or two sentences
    "Whether cells are empty, and where most are"
    table = missing_table(frame, schema)
    gaps = table[table.missing > 0].sort_values("missing", ascending=False)
    constant = table[table.distinct == 1]
    same = ""
    if len(constant): same = f" {listed(list(constant.title))}: the same for everyone, so it cannot explain a grade."
    if gaps.empty: return f"No cell is empty.{same}"
    worst = gaps.iloc[0]
    return (f"{len(gaps)} of {len(table)} columns have empty cells; most are in {worst.title}: "
            f"{worst.missing:,} ({percent(worst.share)}).{same}")


def compact_png(
    figure:object, # matplotlib Figure
)->bytes:          # PNG with a palette of 256 colours
    "A figure as a small PNG"
    from PIL import Image
    full = io.BytesIO()
    small = io.BytesIO()
    figure.savefig(full, format="png", dpi=85, bbox_inches="tight")
    Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def compact_figures()->None: # Changes how the running notebook shows figures
    "Show matplotlib figures as small PNGs from here on"
    from IPython import get_ipython
    from matplotlib.figure import Figure
    shell = get_ipython()
    if not shell: return
    shell.enable_matplotlib("inline")
    shell.display_formatter.formatters["image/png"].for_type(Figure, compact_png)


def plot_panels(
    columns:list[Column], # Columns to show
    draw:Callable,        # (axes, column) -> None
    height:float=2.0,     # Inches per row of panels
)->object:                # matplotlib Figure
    "One small panel per column, three in a row"
    rows = math.ceil(len(columns)/3)
    with plot_style():
        figure, axes = new_figure(9, height*rows, nrows=rows, ncols=3, squeeze=False)
        for ax, column in zip(axes.flat, columns, strict=False): draw(ax, column)
        for ax in axes.flat[len(columns):]: ax.set_axis_off()
    return figure


def draw_histogram(
    ax:object,       # matplotlib Axes
    cells:pd.Series, # Numeric cells
    column:Column,   # What they are
)->None:             # Draws on `ax`
    "How many students have which number"
    cells = cells.dropna()
    whole = column.whole and cells.max() - cells.min() <= 40
    bins = np.arange(cells.min() - 0.5, cells.max() + 1) if whole else 20
    ax.hist(cells, bins=bins, color=COLOURS[0], edgecolor="white", linewidth=0.5)
    ax.set(title=column.title, xlabel=column.unit or column.title, ylabel="Students")
    ax.grid(False, axis="x")
    if whole and cells.nunique() <= 8: ax.set_xticks(sorted(cells.unique()))


def plot_numeric(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds
)->object:              # matplotlib Figure
    "Histogram of each numeric column"
    numeric = [column for column in schema.columns if column.kind == "numeric" and column.name in frame]
    columns = [column for column in numeric if frame[column.name].notna().any()]
    if not columns: raise ExploreError(f"schema {schema.name} has no numeric column with values in this table")
    return plot_panels(columns, lambda ax, column: draw_histogram(ax, frame[column.name], column), height=2.3)


def looks_drawn(
    cells:pd.Series, # Numeric cells
    column:Column,   # Has min and max
)->bool:             # True where χ² finds no difference from an even spread, in 100 cells or more
    "Whether numbers are spread as evenly over their range as if drawn at random"
    from scipy.stats import chisquare
    if None in (column.min, column.max) or cells.count() < 100: return False
    edges = np.arange(cells.min() - 0.5, cells.max() + 1) if column.whole else np.linspace(column.min, column.max, 11)
    counts = np.histogram(cells.dropna(), bins=edges)[0]
    covers = cells.max() - cells.min() >= 0.9*(column.max - column.min)
    return bool(covers and chisquare(counts).pvalue >= SURE)


def even_sentence(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds
)->str:                 # Markdown, one or two sentences
    "Which numeric inputs look as if drawn at random"
    numeric = [column for column in schema.inputs() if column.kind == "numeric" and column.name in frame]
    even = [column.title for column in numeric if looks_drawn(frame[column.name], column)]
    if not even:
        return "No numeric input is spread evenly over its range: numbers pile up somewhere, as they do among people."
    return (f"**{listed(even)}: spread over the whole range as evenly as if drawn at random.** Numbers of people pile "
            f"up somewhere, so this table may be simulated in part or in whole; ask how it was made before trusting "
            f"what follows from it.")


def draw_counts(
    ax:object,       # matplotlib Axes
    cells:pd.Series, # Cells with labels
    column:Column,   # What they are
)->None:             # Draws on `ax`
    "Share of students with each answer"
    counts = cells.value_counts(sort=False)
    shares = 100*counts/max(1, counts.sum())
    bars = ax.barh([str(label) for label in counts.index], shares, color=COLOURS[0])
    ax.bar_label(bars, [f"{share:.0f}" for share in shares], padding=2, size=7)
    ax.set_title("\n".join(textwrap.wrap(axis_title(column), 26)), size=9.5)
    ax.set_xlim(0, 114)
    ax.tick_params(labelsize=7.5)
    ax.grid(False, axis="y")
    ax.invert_yaxis()


def plot_coded(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds
    group:str="",       # Only columns under this heading of the form, such as 'Study'
)->object:              # matplotlib Figure
    "Share of students (%) with each answer, for each coded column but the grade"
    columns = [column for column in schema.columns if column.codes and column.name in frame
               and column.group == (group or column.group)]
    if not columns:
        raise ExploreError(f"schema {schema.name} has no coded column in this table"
                           + (f" under {group}" if group else ""))
    figure = plot_panels(columns, lambda ax, column: draw_counts(ax, frame[column.name], column), height=1.7)
    figure.supxlabel("Share of students (%)", fontsize=9)
    return figure


def score_conflicts(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds; its grades have cuts
)->pd.DataFrame:        # Students by the grade that the score gives (rows) and the recorded grade (columns)
    "The recorded grade against the grade that the score gives"
    score, grades = find_score(frame, schema).name, schema.grades
    if not grades.cuts:
        raise ExploreError(f"the grades of schema {schema.name} have no cuts: a score cannot contradict them")
    find_column(frame, schema, schema.target)
    known = frame[[score, schema.target]].dropna()
    given = pd.Categorical.from_codes(grade_positions(known[score].to_numpy(), schema), categories=grades.labels)
    table = pd.crosstab(given, known[schema.target], dropna=False).reindex(
        index=grades.labels, columns=grades.labels, fill_value=0)
    return table.rename_axis(index="by score", columns="recorded")


def conflict_sentence(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds; its grades have cuts
)->str:                 # Markdown, one or two sentences
    "How many labels contradict the score, and by how much"
    counts = score_conflicts(frame, schema).to_numpy()
    total = counts.sum()
    wrong = total - np.trace(counts)
    if not wrong: return f"All {total:,} recorded grades agree with the cuts of the score."
    near = np.trace(counts, 1) + np.trace(counts, -1)
    better = np.tril(counts, -1).sum()
    return (f"**{wrong:,} of {total:,} recorded grades ({percent(wrong/total)}) contradict the cuts of the score.** "
            f"{percent(near/wrong)} of them are one grade off; {percent(better/wrong)} are better than the score says. "
            f"A model that knew the score exactly, and no more, would be right in {percent(1 - wrong/total)} of the "
            f"cases.")


def plot_score_bands(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds; its grades have cuts
)->object:              # matplotlib Figure
    "Histogram of the score with the cuts, and which labels contradict them"
    counts = score_conflicts(frame, schema).to_numpy()
    score = find_score(frame, schema)
    grades = schema.grades
    known = frame[[score.name, schema.target]].dropna()
    agrees = grade_positions(known[score.name].to_numpy(), schema) == known[schema.target].cat.codes
    edges = np.clip([math.inf, *grades.cuts, -math.inf], known[score.name].min(), known[score.name].max())
    right, wrong = np.trace(counts), counts.sum() - np.trace(counts)
    with plot_style():
        figure, ax = new_figure(6.5, 3.6)
        names = [f"Recorded grade agrees ({right:,})", f"Recorded grade contradicts the score ({wrong:,})"]
        ax.hist([known.loc[part, score.name] for part in (agrees, ~agrees)], bins=40, stacked=True, color=COLOURS[:2],
                label=names)
        for cut in grades.cuts: ax.axvline(cut, color="black", linewidth=1, linestyle="--")
        for grade, high, low in zip(grades.labels, edges, edges[1:], strict=False):
            if high > low:
                ax.text((high + low)/2, 1.01, grade, transform=ax.get_xaxis_transform(), ha="center", va="bottom",
                        weight="bold")
        ax.set(xlabel=axis_title(score), ylabel="Students")
        ax.set_title(f"{score.title} and the cuts of the grade", pad=18)
        ax.grid(False, axis="x")
        legend_below(figure, ax)
    return figure


def conflict_rows(
    frame:pd.DataFrame, # Clean table, in the order of its file
    schema:Schema,      # What it holds; its grades have cuts
)->pd.Series:           # Whether the grade contradicts the score; rows with both, in file order
    "Which rows contradict their score"
    score_conflicts(frame, schema)
    known = frame[[schema.score, schema.target]].dropna()
    wrong = grade_positions(known[schema.score].to_numpy(), schema) != known[schema.target].cat.codes
    return wrong.sort_index()


def conflict_place_sentence(
    frame:pd.DataFrame, # Clean table, in the order of its file
    schema:Schema,      # What it holds; its grades have cuts
)->str:                 # Markdown, one or two sentences
    "Whether contradictions are scattered over the file or lie in one part of it"
    wrong = conflict_rows(frame, schema)
    cluster = find_cluster(np.flatnonzero(wrong), len(wrong))
    if cluster is None: return "Too few grades contradict their score to say where in the file they lie."
    p = p_value(cluster.p_value)
    if cluster.p_value > 0.01:
        return f"They are scattered over the file as chance would scatter them (scan statistic, {p})."
    block = wrong.index[cluster.start:cluster.stop]
    outside = (cluster.total - cluster.inside)/max(1, len(wrong) - len(block))
    grade = find_column(frame, schema, schema.target)
    score = find_score(frame, schema)
    here = associate(frame.loc[block], grade, score)
    elsewhere = associate(frame.drop(index=block), grade, score)
    return (f"**They are not scattered evenly over the file** (scan statistic, {p}): they crowd in rows {block[0]} to "
            f"{block[-1]}, {percent(len(block)/len(wrong))} of the table, where {percent(cluster.share)} of the grades "
            f"contradict the score. Elsewhere it is {percent(outside)}. Grade and score go together with a strength of "
            f"{here.strength:.2f} in these rows and of {elsewhere.strength:.2f} elsewhere. Ask what happened to these "
            f"rows.")


def plot_conflict_rows(
    frame:pd.DataFrame, # Clean table, in the order of its file
    schema:Schema,      # What it holds; its grades have cuts
)->object:              # matplotlib Figure
    "Share of grades that contradict the score, along the file"
    wrong = conflict_rows(frame, schema)
    part = np.arange(len(wrong))*40//max(1, len(wrong))
    shares = wrong.groupby(part).mean()
    starts = pd.Series(wrong.index).groupby(part).min()
    with plot_style():
        figure, ax = new_figure(6.5, 2.6)
        ax.bar(starts, 100*shares, width=np.diff([*starts, wrong.index.max() + 1]), align="edge", color=COLOURS[1],
               edgecolor="white")
        ax.axhline(100*wrong.mean(), color="black", linewidth=1, linestyle="--",
                   label=f"whole table: {percent(wrong.mean())}")
        ax.set(title="Where grades contradict the score", xlabel="Row of the file", ylabel="Share of rows (%)",
               ylim=(0, None))
        ax.grid(False, axis="x")
        legend_below(figure, ax)
    return figure


def plot_associations(
    table:pd.DataFrame, # What `association_table` returned
    title:str="What goes with the grade", # Title of the figure
)->object:              # matplotlib Figure
    "Strength of each column with its 95 % interval"
    shown = table[table.strength.notna()][::-1]
    colours = [COLOURS[0] if p < SURE else COLOURS[3] for p in shown.p]
    with plot_style():
        figure, ax = new_figure(6.5, 1.3 + 0.23*len(shown))
        ax.hlines(range(len(shown)), shown.low, shown.high, color=colours, linewidth=2)
        ax.scatter(shown.strength, range(len(shown)), color=colours, zorder=3)
        marks = [" *" if role == "protected" else "" for role in shown.role]
        ax.set_yticks(range(len(shown)), [f"{name}{mark}" for name, mark in zip(shown.title, marks, strict=True)])
        ax.set(title=title, xlim=(0, 1), ylim=(-0.7, len(shown) - 0.3))
        ax.set_xlabel("Strength (0 to 1) with 95 % interval\nblue: more than chance explains; * protected, no model "
                      "input by default")
        ax.grid(False, axis="y")
    return figure


def draw_scatter(
    ax:object,    # matplotlib Axes
    x:pd.Series,  # Numbers, shape (n,)
    y:pd.Series,  # Score, shape (n,)
)->None:          # Draws on `ax`
    "A point per student, the straight line, and the mean in each tenth of the students"
    slope, intercept, share = trend(x, y)
    ax.scatter(x, y, s=9, alpha=min(0.6, max(0.15, 150/max(1, len(x)))), color=COLOURS[0], linewidth=0)
    tenths = pd.qcut(x.rank(method="first"), min(10, len(x)), labels=False)
    means = pd.DataFrame({"x": x, "y": y}).groupby(tenths).mean()
    ends = np.array([x.min(), x.max()])
    if not math.isnan(slope):
        ax.plot(ends, intercept + slope*ends, color=COLOURS[1], linewidth=2,
                label=f"Line: {slope:+.2g} per unit, R² {share:.2f}")
    ax.plot(means.x, means.y, "o", color="black", markersize=5, label="Mean of each tenth of the students")


def plot_score_against(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds
    column:str,         # Any column but the score
)->object:              # matplotlib Figure
    "One column against the score: points with a trend for numbers, boxes for answers"
    import seaborn as sns
    score, other = find_score(frame, schema), find_column(frame, schema, column)
    if column == score.name: raise ExploreError(f"{column} is the score itself: use plot_score_bands")
    groups, rows = as_groups(frame[column], other), frame[[column, score.name]].dropna()
    with plot_style():
        figure, ax = new_figure(6, 3.8)
        if groups is None: draw_scatter(ax, rows[column], rows[score.name])
        else: sns.boxplot(x=groups.cat.remove_unused_categories(), y=frame[score.name], **BOX, ax=ax)
        ax.set(title=f"{score.title} by {other.title}", xlabel=axis_title(other), ylabel=axis_title(score))
        if groups is None: legend_below(figure, ax)
    return figure


MEASURES = ("Spearman's rank correlation (-1 to 1); with one category (*): correlation ratio of ranks;\n"
            "two categories: Cramér's V (both from 0 to 1, adjusted)")

def plot_correlations(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds
)->object:              # matplotlib Figure
    "How strongly each pair of columns goes together, as a heat map"
    import seaborn as sns
    matrix = association_matrix(frame, schema)
    columns = coded_columns(schema)
    many = len(matrix) > 18
    titles = [columns[name].title + (" *" if columns[name].kind == "category" else "") for name in matrix]
    named = matrix.set_axis(titles).set_axis(titles, axis=1).iloc[1:, :-1]
    shown = named.where(named.abs() >= (0.3 if many else 0))
    written = shown.map(lambda value: "" if math.isnan(value) else f"{round(value, 2) + 0:.2f}".replace("0.", "."))
    with plot_style():
        figure, ax = new_figure(8 if many else 7.5, 7.6 if many else 5.6)
        above = np.triu(np.ones(named.shape, dtype=bool), 1)
        sns.heatmap(named, mask=above, annot=written, fmt="", cmap=sns.color_palette("RdBu", 21), vmin=-1, vmax=1,
                    linewidths=0.5, annot_kws={"size": 5.5 if many else 8}, xticklabels=True, yticklabels=True,
                    cbar_kws={"shrink": 0.6, "label": "Association"}, ax=ax)
        ax.set(title="Which columns go together", xlabel=MEASURES)
        ax.tick_params(labelsize=7 if many else 9)
        ax.grid(False)
    return figure


def group_sentence(
    frame:pd.DataFrame, # Clean table
    schema:Schema,      # What it holds
    name:str,           # Protected column with groups
)->str:                 # Markdown, two sentences
    "Where most and fewest are at risk, and whether chance explains it"
    from scipy.stats import chi2_contingency
    table = grade_shares(frame, schema, name).dropna(subset=["at_risk"])
    title, risk = schema.by_name[name].title, listed(schema.grades.at_risk)
    if len(table) < 2:
        return f"{title}: fewer than two groups have {MIN_SIZE} students, so there is nothing to compare."
    sizes = table.students.str.replace(",", "").astype(int)
    risky = (table.at_risk*sizes).round()
    most, least = table.at_risk.idxmax(), table.at_risk.idxmin()
    varies = 0 < risky.sum() < sizes.sum()
    p = chi2_contingency(np.array([risky, sizes - risky]), correction=False).pvalue if varies else 1.0
    span = lambda group: (f"{percent(table.at_risk[group])} in *{group}* (95 % interval {percent(table.low[group])} to "
                          f"{percent(table.high[group])})")
    verdict = "more than chance explains" if p < SURE else "no more than chance explains"
    return (f"**{title}:** the share at risk ({risk}) is {span(most)} and {span(least)}. The groups differ by "
            f"{verdict} (χ² test, {p_value(p)}).")


def protected_note(
    schema:Schema, # What a table holds
)->str:            # Markdown, one or two sentences
    "Which columns a model does not see by default"
    names = [schema.by_name[name].title for name in schema.names("audit")]
    if not names: return "This schema marks no column as protected."
    return (f"{listed(names)}: no model inputs by default. A group of fewer than {MIN_SIZE} students is not shown. A "
            f"difference between groups says nothing of its cause, and no difference in this table is no proof that "
            f"there is none elsewhere.")
