"""Daily weather at Bellevue, Nebraska, 1949 to 1999: does it rain? (NOAA, public domain)"""

from penstock.spec import Numeric, Pipeline, Rows

PIPELINE = Pipeline(
    name="noaa_weather",
    task="binary",
    target="target",
    classes=("0", "1"),
    # Temperature, dew point, pressure, visibility, wind speed (mean, highest), temperature (highest, lowest)
    features=tuple(Numeric(f"feat_{number}") for number in range(1, 9)),
    label_delay=Rows(500),
)
