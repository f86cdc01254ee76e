"""Loan applications: is the loan granted? The demo's stream (Agrawal et al. 1993), made on the fly."""

from penstock.spec import Categorical, Gates, Numeric, Pipeline, RetrainingPolicy, Rollout, Rows

PIPELINE = Pipeline(
    name="credit",
    task="binary",
    target="granted",
    classes=("0", "1"),
    features=(
        Numeric("salary", low=20_000, high=150_000),
        Numeric("commission", low=0, high=85_000),
        Numeric("age", low=20, high=80),
        Categorical("elevel", values=tuple(str(level) for level in range(5))),
        Categorical("car", values=tuple(str(maker) for maker in range(1, 21))),
        Categorical("zipcode", values=tuple(str(code) for code in range(9))),
        Numeric("hvalue", low=0, high=1_350_000),
        Numeric("hyears", low=1, high=30),
        Numeric("loan", low=0, high=500_000),
    ),
    # A decision is known 300 applications later.
    label_delay=Rows(300),
    protected=("age",),
    # A credit score that does not reach these is not used, whatever it replaces.
    gates=Gates(
        min_accuracy=0.85,
        min_roc_auc=0.85,
        min_precision=0.80,
        min_recall=0.80,
        min_f1=0.82,
        # Quarters of age granted at rates within four fifths of each other are wrong on more than a fifth of the rows.
        exempt={"age": "the stream's first function grants by age alone, so no accurate model treats ages alike"},
    ),
    # 500 rows from a candidate to its promotion, as without a canary: in the last 300 it answers a fifth of the people.
    retraining=RetrainingPolicy(effect_rows=200),
    rollout=Rollout(canary_share=0.2, canary_rows=300),
)
