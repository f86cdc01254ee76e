"""Credit card clients in Taiwan, 2005: does the client default next month? (UCI 350, CC BY 4.0)"""

from penstock.spec import Categorical, Gates, Numeric, Pipeline, Rows

PIPELINE = Pipeline(
    name="taiwan_credit",
    task="binary",
    target="default",
    classes=("0", "1"),
    features=(
        Numeric("LIMIT_BAL", low=0),
        # 1 male, 2 female
        Categorical("SEX", values=("1", "2")),
        # 1 graduate school, 2 university, 3 high school, others
        Categorical("EDUCATION"),
        # 1 married, 2 single, 3 others
        Categorical("MARRIAGE"),
        Numeric("AGE", low=18, high=120),
        # Months of delay in repayment, September back to April
        *(Numeric(f"PAY_{month}") for month in (0, 2, 3, 4, 5, 6)),
        *(Numeric(f"BILL_AMT{month}") for month in range(1, 7)),
        *(Numeric(f"PAY_AMT{month}", low=0) for month in range(1, 7)),
    ),
    id="ID",
    label_delay=Rows(500),
    # Credit is approved where a default is less likely than 0.3
    threshold=0.3,
    favourable="0",
    protected=("SEX", "EDUCATION", "MARRIAGE", "AGE"),
    # Watched, and no gate: the demo's drift turns labels round by the credit limit.
    gates=Gates(
        exempt=dict.fromkeys(("EDUCATION", "MARRIAGE", "AGE"), "credit limits go with it, and so does the demo's drift")
    ),
    ignored={"ID": "it is the id"},
)
