"""Syllables of keypoint-MoSeq (Weinreb et al. 2024), scored as the clusters of every other method are.

Its license allows academic use alone, so it is neither a dependency nor an extra of this project: install it yourself,
beside this one, with ``pip install keypoint-moseq``. The steps are those of its tutorial: pose is the principal
components that hold 90 % of the variance (at most ten), an AR-HMM begins, the full model goes on, and the model is
applied to training and test recordings alike. Which behavior a syllable stands for is decided on the training
recordings. Its priors are in pixels of a usual video, so that animals are scaled to a body length of 100. Choose the
two kappas so that syllables last about as long as behaviors do; how long they last is printed.

    python benchmarks/keypoint_moseq.py --train a.lookagain b.lookagain --test c.lookagain --project moseq
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from napari_lookagain.material import behavior_labels
from napari_lookagain.metrics import cluster_rows, majority_map, row_table
from napari_lookagain.session import Session, load_session

VARIANCE, MOST_COMPONENTS = 0.9, 10
BODY_LENGTH = 100.0


def tracks(sessions: Sequence[Session]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scaled coordinates (T, J, C) and confidences (T, J) of all animals that are seen, by recording and animal."""
    coordinates, confidences = {}, {}
    for i, session in enumerate(sessions):
        for animal in range(session.n_animals):
            if np.isfinite(session.keypoints[:, animal]).any():
                scale = BODY_LENGTH / session.body_length
                coordinates[f"{i}-{animal}"] = scale * session.keypoints[:, animal].astype(float)
                confidences[f"{i}-{animal}"] = session.confidence[:, animal].astype(float)
    return coordinates, confidences


def fit(kpms: ModuleType, train: Sequence[Session], project: str, told: argparse.Namespace) -> tuple[dict, str]:
    """Fit a model to the training recordings, in the order of the tutorial; the model and its name."""
    first = train[0]
    if first.heading is None:
        raise SystemExit(f"{first.recording} names no heading, and keypoint-MoSeq needs one; set it in the session.")
    names, (rear, front) = list(first.keypoint_names), first.heading
    kpms.setup_project(project, bodyparts=names, use_bodyparts=names, skeleton=[], video_dir="")
    kpms.update_config(project, anterior_bodyparts=[front], posterior_bodyparts=[rear], fps=round(first.fps))
    data, metadata = kpms.format_data(*tracks(train), **kpms.load_config(project))
    pca = kpms.fit_pca(**data, **kpms.load_config(project))
    kpms.save_pca(pca, project)
    enough = int(np.searchsorted(np.cumsum(pca.explained_variance_ratio_), VARIANCE)) + 1
    spread = kpms.estimate_sigmasq_loc(data["Y"], data["mask"], filter_size=round(first.fps))
    kpms.update_config(project, latent_dim=min(enough, MOST_COMPONENTS), sigmasq_loc=float(spread))
    model = kpms.init_model(data, pca=pca, seed=told.seed, **kpms.load_config(project))
    model = kpms.update_hypparams(model, kappa=told.kappa_ar)
    model, name = kpms.fit_model(model, data, metadata, project, ar_only=True, num_iters=told.iterations_ar)
    model, data, metadata, done = kpms.load_checkpoint(project, name, iteration=told.iterations_ar)
    model = kpms.update_hypparams(model, kappa=told.kappa)
    goal = done + told.iterations
    model = kpms.fit_model(model, data, metadata, project, name, ar_only=False, start_iter=done, num_iters=goal)[0]
    return model, name


def syllables(results: dict[str, Any], sessions: Sequence[Session]) -> list[np.ndarray]:
    """(T, A) syllables of every session, −1 for an animal that is never seen."""
    out = [np.full((session.n_frames, session.n_animals), -1) for session in sessions]
    for key, found in results.items():
        session, animal = (int(part) for part in key.split("-"))
        out[session][:, animal] = found["syllable"]
    return out


def main() -> None:
    """Fit, apply, score, and write every measure of the test recordings to a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="Session folders to fit to.")
    parser.add_argument("--test", type=Path, nargs="+", required=True, help="Session folders to score.")
    parser.add_argument("--project", type=Path, required=True, help="A new folder for what keypoint-MoSeq keeps.")
    parser.add_argument("--out", type=Path, default=Path("keypoint_moseq.csv"))
    parser.add_argument("--kappa-ar", type=float, default=1e6, help="Stickiness of the AR-HMM it begins with.")
    parser.add_argument("--kappa", type=float, default=1e4, help="Stickiness of the full model.")
    parser.add_argument("--iterations-ar", type=int, default=50)
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).parent]  # this is no module
    try:
        import keypoint_moseq as kpms
    except ImportError as error:
        raise SystemExit(
            "keypoint-MoSeq is not installed; see its license, then pip install keypoint-moseq."
        ) from error
    train, test = ([load_session(path) for path in paths] for paths in (told.train, told.test))
    sessions, project = [*train, *test], str(told.project)
    model, name = fit(kpms, train, project, told)
    config = kpms.load_config(project)
    data, metadata = kpms.format_data(*tracks(sessions), **config)
    results = kpms.apply_model(model, data, metadata, project, name, save_results=False, **config)

    label, names = behavior_labels(sessions, None)
    raw = syllables(results, sessions)
    known = np.unique(np.concatenate([each[each >= 0] for each in raw]))  # of a hundred states, those in use
    clusters = [np.where(each >= 0, np.searchsorted(known, each), -1) for each in raw]
    mapping = majority_map(clusters[: len(train)], label[: len(train)], len(known))
    titles = [f"syllable {code}" for code in known]
    table = row_table(cluster_rows(label[len(train) :], clusters[len(train) :], names, titles, mapping))
    table.to_csv(told.out, index=False)
    changes = np.concatenate([(np.diff(each, axis=0) != 0).ravel() for each in clusters[len(train) :]])
    print(f"{len(known)} syllables; a change every {1 / max(changes.mean(), 1e-9) / train[0].fps:.2f} s")
    print(table[table["class"] == "(all)"].round(3).to_string(index=False))


if __name__ == "__main__":
    main()
