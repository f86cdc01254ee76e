"""Electricity market of New South Wales, half-hourly 1996 to 1998: does the price rise? (Harries 1999)"""

from penstock.spec import Categorical, Numeric, Pipeline, Rows

PIPELINE = Pipeline(
    name="elec2",
    task="binary",
    target="class",
    # 1: the price is above its mean of the last 24 hours
    classes=("0", "1"),
    features=(
        Categorical("day", values=("1", "2", "3", "4", "5", "6", "7")),
        Numeric("period"),
        Numeric("nswprice"),
        Numeric("nswdemand"),
        Numeric("vicprice"),
        Numeric("vicdemand"),
        Numeric("transfer"),
    ),
    # A day of half hours would be 48; later labels show what delay costs.
    label_delay=Rows(500),
    ignored={"date": "the share of the years that has passed: it always moves"},
)
