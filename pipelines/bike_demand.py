"""Capital Bikeshare, hourly 2011 and 2012: are many bikes rented? (UCI 275, CC BY 4.0)"""

from penstock.spec import Numeric, Pipeline, Rows

PIPELINE = Pipeline(
    name="bike_demand",
    task="binary",
    target="class",
    classes=("low", "high"),
    features=(
        # Temperature, felt temperature, humidity, wind speed; all scaled to [0, 1]
        Numeric("f0", low=0, high=1),
        Numeric("f1", low=0, high=1),
        Numeric("f2", low=0, high=1),
        Numeric("f3", low=0, high=1),
    ),
    label_delay=Rows(500),
)
