"""A training step of GradCraft against one of equal weights and torchjd's own path, on the published PLE; and weights from K."""

from __future__ import annotations

from itertools import accumulate

import torch
from craftbench.baselines.multitask.aligned_mtl import aligned_mtl_weights
from craftbench.baselines.multitask.cagrad import cagrad_weights
from craftbench.baselines.multitask.dbmtl import dbmtl_weights
from craftbench.baselines.multitask.ew import EW
from craftbench.baselines.multitask.gradvac import gradvac_weights
from craftbench.baselines.multitask.imtl import imtl_g_weights
from craftbench.baselines.multitask.mgda import mgda_weights
from craftbench.baselines.multitask.nash_mtl import nash_mtl_weights
from craftbench.baselines.multitask.pcgrad import PCGrad, pcgrad_weights
from craftbench.baselines.multitask.upgrad import upgrad_weights
from craftbench.core.context import RunContext
from craftbench.methods.gradcraft import GradCraft, gradcraft_weights
from craftbench.models.multitask import MultiTaskModel
from craftbench.models.multitask_training import stepper
from craftbench.models.optimisers import Adam
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.profiler import ProfilerActivity, profile
from torchjd import aggregation
from torchjd.autojac import backward, jac_to_grad

from .interleave import interleave
from .limits import products_of
from .split_ple import SplitPLE

# 98 k ids, 2 M parameters, as in the paper's Wechat log.
FIELDS, TASKS, BATCH, LR, L2 = (20_000, 60_000, 10_000, 8_000, 100, 24), 6, 2048, 1e-3, 1e-5
CLOSED = {"DB-MTL": dbmtl_weights, "Aligned-MTL": aligned_mtl_weights, "IMTL-G": imtl_g_weights, "GradCraft": gradcraft_weights}
PROGRAMS = {
    "PCGrad": pcgrad_weights,
    "GradVac": gradvac_weights,
    "MGDA": mgda_weights,
    "Nash-MTL": nash_mtl_weights,
    "UPGrad": upgrad_weights,
    "CAGrad": cagrad_weights,
}
THEIRS = {
    "PCGrad": aggregation.PCGradWeighting(),
    "GradVac": aggregation.GradVacWeighting(),
    "MGDA": aggregation.MGDAWeighting(),
    "IMTL-G": aggregation.IMTLGWeighting(),
    "UPGrad": aggregation.UPGradWeighting(),
    "CAGrad": aggregation.CAGradWeighting(c=0.4),
    "Aligned-MTL": aggregation.AlignedMTLWeighting(),
}


def batches():
    generator = torch.Generator().manual_seed(0)
    while True:
        ids = torch.stack([torch.randint(0, size, (BATCH,), generator=generator) for size in FIELDS], dim=1)
        yield ids, torch.zeros(BATCH, 0), (torch.rand(BATCH, TASKS, generator=generator) < 0.2).float()


def model():
    return MultiTaskModel("ple", FIELDS, 0, TASKS, generator=torch.Generator().manual_seed(1))


def ours(runner, **settings):
    """A whole training step of a row: look-up, losses, balanced gradient, L2, one step of Adam."""
    params = runner.Params(lr=LR, l2=L2, **settings)
    step = stepper(model(), params, runner().balancer(TASKS, params, RunContext(0)))
    return lambda ids, dense, label: step(ids, dense, label, False)


def plain(fill):
    """The same step in plain torch, on a network with a module for each task; fill(net, losses, leaf) writes the gradients."""
    net = SplitPLE(FIELDS, TASKS)
    starts = torch.tensor([0, *FIELDS[:-1]]).cumsum(0)
    decayed, free = ([each for each in net.parameters() if (each.dim() > 1) == wide] for wide in (True, False))
    optimisers = [(decayed, Adam(decayed, LR, 2 * L2)), (free, Adam(free, LR))]

    def step(ids, dense, label):
        for each in net.parameters():
            each.grad = None
        rows, place = torch.unique(ids + starts, return_inverse=True)
        leaf = net.table.detach()[rows].requires_grad_()
        losses = [binary_cross_entropy_with_logits(z, label[:, k]) for k, z in enumerate(net(leaf[place]))]
        fill(net, losses, leaf)
        net.table.grad = torch.zeros_like(net.table).index_copy_(0, rows, leaf.grad)
        for parameters, optimiser in optimisers:
            optimiser.step([each.grad for each in parameters])

    return step


def mean_backward():
    return plain(lambda net, losses, leaf: torch.stack(losses).mean().backward())


def torchjd_step(chunk):
    """backward + jac_to_grad on the shared parameters, then each task's own ones."""
    aggregator = aggregation.PCGrad()

    def fill(net, losses, leaf):
        shared = [leaf, *net.common.parameters()]
        backward(losses, inputs=shared, retain_graph=True, parallel_chunk_size=chunk)
        jac_to_grad(shared, aggregator)
        torch.stack(losses).sum().backward(inputs=net.private())

    return plain(fill)


def test_seconds_of_a_step(ledger):
    stream = batches()
    steps = {
        "equal weights, plain torch": mean_backward(),
        "EW": ours(EW),
        "GradCraft": ours(GradCraft),
        "GradCraft, every 4th K": ours(GradCraft, every=4),
        "PCGrad": ours(PCGrad),
        "torchjd PCGrad, one by one": torchjd_step(1),
        "torchjd PCGrad, vmap": torchjd_step(None),
    }
    race = interleave(
        "training step, PLE, 2 M parameters, batch 2048, T = 6",
        {name: lambda step=step: step(*next(stream)) for name, step in steps.items()},
        rounds=21,
    )
    products = products_of(lambda: steps["GradCraft"](*next(stream)))
    for slow in ("torchjd PCGrad, one by one", "torchjd PCGrad, vmap"):
        ledger.add(race, slow, "PCGrad", target=1.0)
        ledger.add(race, slow, "GradCraft", target=1.0, work=products)
    ledger.note("step of EW, over equal weights in plain torch", race.ratio("EW", "equal weights, plain torch")[0], "x")
    for name in ("GradCraft", "GradCraft, every 4th K", "PCGrad"):
        promised = {"GradCraft": 1.3}.get(name)
        ledger.note(f"step of {name}, over EW's", race.ratio(name, "EW")[0], "x", promised)


def test_seconds_of_the_weights(ledger):
    J = torch.randn(TASKS, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    K = J @ J.T
    steps = {**CLOSED, **PROGRAMS, **{f"torchjd {name}": weighting for name, weighting in THEIRS.items()}}
    race = interleave(
        "weights from K, T = 6", {name: lambda f=f: f(K) for name, f in steps.items()}, rounds=9, calls=dict.fromkeys(steps, 20)
    )
    for name in THEIRS:
        ledger.add(race, f"torchjd {name}", name)
    for names, limit in ((CLOSED, 0.2), (PROGRAMS, 3.0)):
        for name in names:
            ledger.note(f"weights from K, T = 6, {name}", 1e3 * race.median(name), "ms", limit)


def test_peak_memory_of_a_step(ledger):
    """Allowed beyond equal weights: each task's gradient on the shared dense parameters and the rows that a batch touches."""
    batch = next(batches())
    net = model()
    touched = len(net.rows(batch[0])[0]) * net.table.shape[1]
    room = TASKS * 4 * (touched + sum(each.numel() for each in net.body.shared))
    peaks = {runner.name: peak_bytes(ours(runner), batch) for runner in (EW, GradCraft)}
    more = (peaks["gradcraft"] - peaks["ew"]) / 1e6
    ledger.note("peak memory of a step of GradCraft, beyond EW's", more, "MB", round(room / 1e6, 1))


def peak_bytes(step, batch):
    """What one step holds at most, beyond what it found."""
    step(*batch)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step(*batch)
    events = [each for each in seen.profiler.kineto_results.events() if each.name() == "[memory]"]
    held = accumulate(each.nbytes() for each in sorted(events, key=lambda each: each.start_ns()))
    return max(held)
