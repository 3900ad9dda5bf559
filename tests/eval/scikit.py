"""jepa probe's kNN, linear and ridge probes and scores against scikit-learn's. See test_scikit.sh.

    scikit.py FOLDER    with npy/ (jepa features --export), and classes/, values/, huber/, labels/
                        (--out of jepa probe on the same store)

Tolerances. Features are the same float32 numbers. Weights are stored in float64; our solver stops
where no entry of the gradient g is above 1e-6, seen from here 1e-5 to allow for the order of sums and
for the directions that a basis of few rows leaves out (eval/linear_basis.h). Where the curvature is at
least c, the loss is then at most |g|^2 / (2 c) above the minimum and the weights at most |g| / c away;
c is lambda for the weights, and for the biases, which are not penalised, at least 0.01 in problems like
these. Predictions are written with six digits.
"""
import csv, json, sys
import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, r2_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

folder = sys.argv[1]
LAMBDAS = [10, 3, 1, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4]
GRADIENT = 1e-5
CURVATURE = 0.01


def rows(path):
    return list(csv.DictReader(open(path, newline="")))


def tensors(path):
    raw = open(path, "rb").read()
    size = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:8 + size])
    head.pop("__metadata__", None)
    return {n: np.frombuffer(raw[8 + size:][t["data_offsets"][0]:t["data_offsets"][1]],
                             np.float64).reshape(t["shape"]) for n, t in head.items()}


features = np.load(folder + "/npy/features.npy").astype(np.float64)
names = json.load(open(folder + "/npy/videos.json"))["names"]
row_of = {n: i for i, n in enumerate(names)}


class Study:
    """One --out: train and test rows, folds, what was chosen and said."""

    def __init__(self, name):
        self.out = f"{folder}/{name}"
        split = rows(self.out + "/split.csv")
        train = [s for s in split if s["set"] == "train"]
        self.train_names = [s["file"] for s in train]
        self.fold = np.array([int(s["fold"]) for s in train])
        self.predictions = rows(self.out + "/predictions.csv")
        self.x = features[[row_of[n] for n in self.train_names]]
        self.test = features[[row_of[p["file"]] for p in self.predictions]]
        self.results = {(r["probe"], r["features"]): r for r in rows(self.out + "/results.csv")}
        self.head = tensors(self.out + "/linear/head/probe.safetensors")
        self.lam = json.load(open(self.out + "/linear/head/probe.json"))["lambda"]
        self.k = int(self.results["kNN", "this encoder"]["setting"].split()[1])
        mean, std = self.x.mean(0), self.x.std(0)
        assert np.allclose(self.head["mean"], mean, rtol=1e-9, atol=1e-12)
        assert np.allclose(self.head["scale"], 1 / std, rtol=1e-6)
        self.z, self.test_z = (self.x - mean) / std, (self.test - mean) / std
        self.w, self.b = self.head["weight"], self.head["bias"]

    def settings(self):
        return {s["setting"]: float(s["score"]) for s in rows(self.out + "/settings.csv")
                if s["probe"] == "linear" and s["features"] == "this encoder"}


def softmax(s):
    e = np.exp(s - s.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def logistic_at(w, b, z, y, lam):
    """Loss and gradient of multinomial logistic regression; y one-hot."""
    p = softmax(z @ w.T + b)
    loss = -np.log(p[y > 0]).mean() + lam / 2 * (w * w).sum()
    d = (p - y) / len(z)
    return loss, d.T @ z + lam * w, d.sum(0)


def solver(lam, n):
    return LogisticRegression(C=1 / (lam * n), solver="lbfgs", tol=1e-10, max_iter=100000)


def weights(distances):
    return np.exp((1 - distances) / 0.07)


# ---- classes ----
s = Study("classes")
train_y = np.array([n.split("/")[0] for n in s.train_names])
test_y = np.array([p["class"] for p in s.predictions])
classes = sorted(set(train_y))
one_hot = (train_y[:, None] == np.array(classes)).astype(float)
n, lam = len(s.z), s.lam
theirs = solver(lam, n).fit(s.z, train_y)
loss, gw, gb = logistic_at(s.w, s.b, s.z, one_hot, lam)
their_loss, tw, tb = logistic_at(theirs.coef_, theirs.intercept_, s.z, one_hot, lam)
largest = max(abs(gw).max(), abs(gb).max())
assert largest < GRADIENT, f"our gradient is {largest}"
norm, their_norm = np.sqrt((gw ** 2).sum() + (gb ** 2).sum()), np.sqrt((tw ** 2).sum() + (tb ** 2).sum())
curvature = min(lam, CURVATURE)
assert abs(loss - their_loss) <= max(norm, their_norm) ** 2 / (2 * curvature) + 1e-12, (loss, their_loss)
distance = np.sqrt(((s.w - theirs.coef_) ** 2).sum())
assert distance <= (norm + their_norm) / curvature, (distance, norm, their_norm)
ours = [p["linear"] for p in s.predictions]
scores = np.sort(softmax(s.test_z @ theirs.coef_.T + theirs.intercept_), axis=1)
clear = scores[:, -1] - scores[:, -2] > 1e-4  # elsewhere two classes are equal to the solvers
assert (np.array(ours) == theirs.predict(s.test_z))[clear].all()
accuracy = float(s.results["linear", "this encoder"]["score"])
assert abs(accuracy - theirs.score(s.test_z, test_y)) <= (~clear).sum() / len(test_y) + 1e-6
# every candidate on every fold: the same accuracy, but for rows on which two classes are equal
found = s.settings()
for candidate in LAMBDAS:
    correct = unclear = 0
    for f in range(4):
        inside, held = s.fold != f, s.fold == f
        z = (s.x - s.x[inside].mean(0)) / s.x[inside].std(0)
        model = solver(candidate, inside.sum()).fit(z[inside], train_y[inside])
        p = np.sort(model.predict_proba(z[held]), axis=1)
        correct += (model.predict(z[held]) == train_y[held]).sum()
        unclear += (p[:, -1] - p[:, -2] < 1e-3 * p[:, -1]).sum()
    assert abs(found[f"lambda {candidate:g}"] * n - correct) <= unclear + 1e-3, (candidate, correct, found)
knn = KNeighborsClassifier(s.k, metric="cosine", algorithm="brute", weights=weights).fit(s.x, train_y)
p = np.sort(knn.predict_proba(s.test), axis=1)
clear = p[:, -1] - p[:, -2] > 1e-4  # float32 similarities, divided by 0.07
assert (knn.predict(s.test) == np.array([p["kNN"] for p in s.predictions]))[clear].all()
print(f"{folder}: logistic, lambda {lam:g}: loss {loss:.9f}, scikit-learn {their_loss:.9f}; gradient {largest:.1e}; "
      f"kNN k {s.k}: {clear.sum()} of {len(clear)} predictions compared")

# ---- values ----
for name in ("values", "huber"):
    s = Study(name)
    columns = ["a", "b"]
    value_of = {r["file"]: [float(r[c]) for c in columns] for r in rows("values.csv")}
    y = np.array([value_of[n] for n in s.train_names], np.float32).astype(float)
    test_y = np.array([value_of[p["file"]] for p in s.predictions], np.float32).astype(float)
    centre, spread = y.mean(0), y.std(0)
    t = (y - centre) / spread
    said = np.array([[float(p["linear " + c]) for c in columns] for p in s.predictions])
    if name == "values":
        theirs = Ridge(alpha=s.lam * n, solver="cholesky", tol=0).fit(s.z, t)
        expected = theirs.predict(s.test_z) * spread + centre
        assert np.allclose(s.w, theirs.coef_ * spread[:, None], rtol=1e-6, atol=1e-7 * abs(s.w).max())
        assert np.allclose(said, expected, rtol=1e-5, atol=1e-5 * spread.max())
    else:
        # scikit-learn's Huber regression also fits a scale; the gradient of ours is looked at instead
        e = np.clip(((s.z @ s.w.T + s.b) - centre) / spread - t, -1, 1)
        g = e.T @ s.z / n + s.lam * s.w / spread[:, None]
        assert abs(g).max() < GRADIENT and abs(e.mean(0)).max() < GRADIENT, abs(g).max()
    knn = KNeighborsRegressor(s.k, metric="cosine", algorithm="brute", weights=weights).fit(s.x, y)
    near = np.array([[float(p["kNN " + c]) for c in columns] for p in s.predictions])
    assert np.allclose(near, knn.predict(s.test), rtol=1e-4, atol=1e-4 * spread.max())
    each = {(r["probe"], r["features"], r["value"]): float(r["R2"]) for r in rows(s.out + "/by_value.csv")}
    for i, c in enumerate(columns):
        assert abs(each["linear", "this encoder", c] - r2_score(test_y[:, i], said[:, i])) < 1e-4
    print(f"{folder}: {name}, lambda {s.lam:g}, kNN k {s.k}: R2 {s.results['linear', 'this encoder']['score']}")

# ---- labels ----
s = Study("labels")
columns = ["even", "early"]
label_of = {r["file"]: [int(r[c]) for c in columns] for r in rows("labels.csv")}
y = np.array([label_of[n] for n in s.train_names])
test_y = np.array([label_of[p["file"]] for p in s.predictions])
said = np.array([[float(p["linear " + c]) for c in columns] for p in s.predictions])
each = {(r["probe"], r["features"], r["label"]): float(r["AP"]) for r in rows(s.out + "/by_label.csv")}
for i, c in enumerate(columns):
    theirs = solver(s.lam, n).fit(s.z, y[:, i])
    p = 1 / (1 + np.exp(-(s.z @ s.w[i] + s.b[i])))
    g = (p - y[:, i]) @ s.z / n + s.lam * s.w[i]
    assert abs(g).max() < GRADIENT and abs((p - y[:, i]).mean()) < GRADIENT
    bound = 2 * np.sqrt(len(g)) * GRADIENT / min(s.lam, CURVATURE)
    assert np.sqrt(((s.w[i] - theirs.coef_[0]) ** 2).sum()) < bound
    # logits that differ by so much; a probability changes by a quarter of it
    atol = bound / 4 * np.sqrt((s.test_z ** 2).sum(1)).max() + 1e-5
    assert np.allclose(said[:, i], theirs.predict_proba(s.test_z)[:, 1], atol=min(atol, 1e-2))
    assert abs(each["linear", "this encoder", c] - average_precision_score(test_y[:, i], said[:, i])) < 1e-6
print(f"{folder}: labels, lambda {s.lam:g}: mAP {s.results['linear', 'this encoder']['score']}")
