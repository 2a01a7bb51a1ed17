"""Every setting that decides what a training does: the tables of `runs.toml`, typed, with ranges and defaults.

The playbook's numbers are the defaults.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from engine.run.convert import suggestion
from engine.run.events import EpochRecord

Positive = Annotated[float, Meta(gt=0.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
MAX_INT = 2**53
"""JSON holds whole numbers up to here without loss; no setting needs a larger one."""
Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
PositiveInt = Annotated[int, Meta(ge=1, le=MAX_INT)]
RunName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]{0,47}\Z")]
PatchValue = float | int | str | bool
Patch = dict[str, PatchValue]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen table of settings that refuses keys it does not know."""


class ModelConfig(Section, frozen=True, kw_only=True):
    """The network that predicts the next chunk vector."""

    kind: Literal["mamba_s", "amn", "gru", "transformer"] = "mamba_s"
    """`mamba_s`: a stack of Mamba-2 (SSD) blocks. `amn`: attention mixture network, the baseline. `gru`, `transformer`:
    plain references. A setting that names models is used by these alone; the others ignore it."""
    width: PositiveInt = 256
    """Width of the hidden vectors."""
    layers: PositiveInt = 4
    """Mamba-S, transformer: number of blocks. AMN: number of residual layers after the mixture. GRU: stacked layers."""
    state: PositiveInt = 128
    """Mamba-S: state width N of a head."""
    conv: PositiveInt = 4
    """Mamba-S: width of the causal convolution, in positions."""
    expand: PositiveInt = 2
    """Mamba-S: inner width as a multiple of `width`. Transformer: the same of its feed-forward layers."""
    head_width: PositiveInt = 64
    """Mamba-S: inner channels of a head; each head has one decay. Divides `width * expand`.
    Transformer: channels of an attention head. Divides `width`."""
    residual: Literal["none", "context_mean"] = "none"
    """`context_mean`: the network predicts the correction to the mean of the context. AMN always does."""

    def __post_init__(self) -> None:
        if self.kind == "mamba_s" and (self.width * self.expand) % self.head_width:
            raise ValueError(f"head_width {self.head_width} must divide width * expand = {self.width * self.expand}")
        if self.kind == "transformer" and self.width % self.head_width:
            raise ValueError(f"head_width {self.head_width} must divide width = {self.width}")


class SamplerConfig(Section, frozen=True, kw_only=True):
    """How windows become batches."""

    batch_size: Annotated[int, Meta(ge=2, le=65_536)] = 256
    """Windows in a micro-batch, over all ranks together."""
    accumulate: Annotated[int, Meta(ge=1, le=1024)] = 4
    """Micro-batches in an optimizer step. All of the effective batch, batch_size * accumulate, serves as candidates."""
    max_per_article: Count = 0
    """At most this many windows of an article in a micro-batch; 0 sets no cap."""
    article_dropout: Share = 0.2
    """Chance that a training window has its oldest chunks hidden, so that the article's start cannot be memorised."""
    span_corruption: Share = 0.1
    """Chance that a span of a training window's context is replaced by another article's chunks."""


class LossConfig(Section, frozen=True, kw_only=True):
    """lambda_con * InfoNCE + lambda_ar * (1 - cosine)."""

    temperature: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.07
    """Divides the cosines of the contrast."""
    lambda_con: Annotated[float, Meta(ge=0.0)] = 0.7
    """Weight of InfoNCE."""
    lambda_ar: Annotated[float, Meta(ge=0.0)] = 0.3
    """Weight of the autoregressive cosine term."""
    contrast_space: Literal["projected", "target"] = "projected"
    """`projected`: contrast behind the projection head. `target`: contrast the vectors that retrieval searches."""
    projection_hidden: PositiveInt = 512
    """Hidden width of the projection head."""
    projection_width: PositiveInt = 256
    """Output width of the projection head."""
    mask_same_article: bool = True
    """Leave candidates of the query's own article out of its negatives. Off only to show what that does."""

    def __post_init__(self) -> None:
        if self.lambda_con + self.lambda_ar <= 0:
            raise ValueError("lambda_con and lambda_ar are both 0: nothing would be trained")


class QueueConfig(Section, frozen=True, kw_only=True):
    """Targets of earlier steps as further negatives: first in, first out."""

    size: Annotated[int, Meta(ge=0, le=1_048_576)] = 0
    """Targets kept; 0 keeps none. The playbook's is 65,536."""
    same_topic_share: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.3
    """At least this share of a query's queue negatives is of its own topic and another article, where the queue holds
    any: the newest of the other topics are kept, the rest left out. 0 takes the queue as it comes."""
    topics: Annotated[int, Meta(ge=2, le=4096)] = 16
    """Topics to find by k-means where the data name none."""


class OptimizerConfig(Section, frozen=True, kw_only=True):
    """AdamW."""

    lr: Positive = 1e-3
    """Peak learning rate."""
    weight_decay: Annotated[float, Meta(ge=0.0)] = 0.01
    """Decoupled decay of weight matrices; biases, norms and decays of the state are exempt."""
    beta1: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.9
    """Decay of the first moment."""
    beta2: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.98
    """Decay of the second moment."""
    clip_norm: Positive = 1.0
    """Gradients with a larger global norm are scaled down to it."""


class ScheduleConfig(Section, frozen=True, kw_only=True):
    """Linear warm-up, then a cosine down to `min_lr_ratio` at the last step."""

    warmup_steps: Count = 1000
    """Optimizer steps of warm-up; cut to a tenth of the run where the run is too short for it."""
    min_lr_ratio: Share = 0.0
    """Learning rate at the end, as a share of the peak."""


class CheckpointConfig(Section, frozen=True, kw_only=True):
    """When to keep weights and when to end early."""

    every_epochs: Count = 0
    """Keep a checkpoint of every n-th epoch beside `best` and `last`; 0 keeps none."""
    patience: Count = 5
    """End after this many epochs without a better val_cosine; 0 never ends early."""
    min_delta: Annotated[float, Meta(ge=0.0)] = 1e-4
    """A smaller gain in val_cosine than this does not count as better."""


class DataConfig(Section, frozen=True, kw_only=True):
    """What is trained on, and how it is split."""

    corpus: str = "embedded:wikileads"
    """A corpus folder (with manifest.json), or `embedded:NAME` for one that ships with the program."""
    train_npz: str = ""
    """A file of materialised windows to train on instead of a corpus; empty for none."""
    eval_npz: str = ""
    """A file of windows of articles that training never sees, such as the playbook's evaluation set; empty for none.
    The corpus's own test articles serve where there are any."""
    context: PositiveInt = 5
    """Chunks in a window's context; the next one is its target."""
    val_share: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.1
    """Share of the articles (or of the windows, where articles are unknown) held out for validation."""
    test_share: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.1
    """Share of the articles that neither training nor validation sees; evaluations query these."""
    split_seed: Count = 0
    """Seed of the split; runs that are compared must share it."""

    def __post_init__(self) -> None:
        if self.val_share + self.test_share >= 1:
            raise ValueError("val_share and test_share leave nothing to train on")


class RunConfig(Section, frozen=True, kw_only=True):
    """One `[run.NAME]` table: a model and how it is trained."""

    title: str = ""
    """What the run is for, in a few words."""
    epochs: PositiveInt = 20
    """Passes over the training windows, unless it ends early."""
    seed: Count = 0
    """Seed of weights, order and corruption."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto` takes the first of cuda, mps, cpu that is there."""
    threads: Count = 0
    """CPU threads of a process; 0 shares the cores among the runs that are alive, and a run's among its ranks."""
    nproc: Annotated[int, Meta(ge=1, le=1024)] = 1
    """Ranks on each node: processes, on CUDA one a device, that share every micro-batch. What is learned does not
    depend on their number."""
    nodes: Annotated[int, Meta(ge=1, le=1024)] = 1
    """Machines; more than one need an allocation of Slurm. nproc * nodes divides `sampler.batch_size`."""
    launcher: RunName = "local"
    """Where it is started: `local`, this machine, or the NAME of a `[launcher.NAME]` table."""
    rank_timeout_s: Annotated[float, Meta(ge=1.0, le=86_400.0)] = 600.0
    """Seconds that ranks wait for one that is late before the training is given up and the late one named. Floors,
    validation and checkpoints must fit in."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the model's matrix products in training. Weights, head, losses, optimizer and validation stay float32."""
    model: ModelConfig = field(default_factory=ModelConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        num_ranks, batch_size = self.nproc * self.nodes, self.sampler.batch_size
        if batch_size % num_ranks:
            below = batch_size - batch_size % num_ranks
            near = f"{below} or {below + num_ranks}" if below else f"{num_ranks}"
            raise ValueError(
                f"sampler.batch_size {batch_size} cannot be shared by nproc * nodes = {num_ranks} ranks; {near} could"
            )


class Gate(Section, frozen=True, kw_only=True):
    """A bar that a metric of an epoch must reach."""

    metric: str = "val_cosine"
    """A number of the epoch's record."""
    epoch: PositiveInt = 2
    """Judged at the end of this epoch."""
    at_least: float = 0.50
    """The bar."""
    above_floor: float | None = None
    """If set, the metric must also stand this far above the best floor."""

    def __post_init__(self) -> None:
        if self.metric not in EpochRecord.__struct_fields__:
            known = suggestion(self.metric, EpochRecord.__struct_fields__)
            raise ValueError(f'an epoch has no metric "{self.metric}".{known}')

    @property
    def name(self) -> str:
        """`val_cosine@2`."""
        return f"{self.metric}@{self.epoch}"


class CheckBars(Section, frozen=True, kw_only=True):
    """Bars of the sanity checks that follow every epoch."""

    margin_at_least: float = 0.10
    """Mean cosine to the target minus mean cosine to other articles' targets."""
    same_article_negatives_at_most: Count = 0
    """Candidates of the query's own article that reached the loss."""
    pairwise_cosine_at_most: Share = 0.3
    """Mean pairwise cosine of predictions: healthy 0.02 to 0.2, collapsed near 1. Where the means of the contexts are
    alike themselves, as with validation windows of a single article, the bar is 0.1 above that instead."""
    effective_rank_at_least: Annotated[float, Meta(ge=0.0)] = 10.0
    """Directions that the predictions span: healthy 26 to 285, one answer for everything 4 to 5; at most a quarter of
    the directions there could be is asked for. It finds predictions that spread evenly over very few directions, which
    pairwise cosines do not, and proves nothing above: a collapse around the context's mean keeps 126, a training
    without contrast 54. 0 sets no bar."""
    unseen_lift_gap_at_most: Share = 0.02
    """Lift over the context mean on validation minus the same on articles that training never sees, in absolute value:
    an honest split showed 0.003, a leaky one 0.044. Twice the difference's standard error is allowed on top, because
    few articles differ by chance: honest splits of 5 articles a side showed 0.046, with an error of 0.028."""


class EvalConfig(Section, frozen=True, kw_only=True):
    """A retrieval evaluation and its gates."""

    at_epoch: Count = 4
    """The epoch after which the playbook asks for it; 0 means at the end."""
    corpus: str = ""
    """Corpus to search: folder or `embedded:NAME`; empty for the one that is trained on. A run that is trained on a
    file of windows needs it, or the next two."""
    eval_npz: str = ""
    """Windows to query instead of a corpus's test articles, as the playbook's tools write them; needs `payload`."""
    payload: str = ""
    """What `eval_npz` is searched in: a corpus folder. A pickled payload becomes one with `lvm-engine data import`."""
    faiss: str = ""
    """An index of the payload; empty to build one and keep it."""
    limit: Count = 1000
    """Queries, sampled with `seed`; 0 takes all of them."""
    index: Literal["auto", "flat", "fastscan"] = "auto"
    """Lists of vectors, or of codes with exact refinement; `auto` takes what suits the number of chunks."""
    tune: bool = False
    """Choose nlist and nprobe by measurement: the best recall within `p95_ms`, instead of the locked `nprobe`."""
    nprobe: PositiveInt = 64
    """Index lists visited by a query."""
    seed: Count = 0
    """Seed of the sample of queries."""
    contain50: Share = 0.60
    """Gate: truth among the top 50."""
    r5: Share = 0.40
    """Gate: truth in the top 5."""
    eff5: Share = 0.68
    """Gate: R@5 / Contain@50."""
    p95_ms: Positive = 1.45
    """Gate: 95th percentile of a single query's latency, in milliseconds."""
    launcher: RunName = "local"
    """Where it is computed: `local`, this machine, or the NAME of a `[launcher.NAME]` table. What is fitted and looked
    at besides goes where `[eval.smoke]` goes."""

    def __post_init__(self) -> None:
        if bool(self.eval_npz) != bool(self.payload):
            raise ValueError("eval_npz and payload come together: the windows that are asked and what is searched")
        if self.corpus and self.eval_npz:
            raise ValueError("corpus and eval_npz: name one of them; eval_npz is searched in payload")
        if self.faiss and not self.payload:
            raise ValueError("faiss is an index of payload, which is not named")


class Fix(Section, frozen=True, kw_only=True):
    """A step of the triage ladder."""

    title: str
    """What is changed, in a few words."""
    reason: str
    """Why it should help."""
    tries: list[Patch] = field(default_factory=list)
    """The patches it tries, in order; dotted keys of a run's tables, such as "loss.temperature"."""
    verify: Literal["", "projection_head"] = ""
    """A step that changes nothing but asks for this check of the epoch to have passed."""

    def __post_init__(self) -> None:
        if bool(self.tries) == bool(self.verify):
            raise ValueError(f"fix {self.title!r} needs either tries or verify")
        if not all(self.tries):
            raise ValueError(f"fix {self.title!r} has a try that changes nothing")
