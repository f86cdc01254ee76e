"""The known public data sets: where they come from and what they must hold. None of them is part of the project."""

from __future__ import annotations

from dataclasses import dataclass

from producers import conversions
from producers.drifts import TrueDrift


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A known data set. ``url`` None: no stable address serves it as one file; ``by_hand`` says how to get it.

    What ``url`` sends was never seen by this project (it could not be reached where this was written): ``convert``
    follows the publisher's description, and the digest decides. ``drifts`` are injected when the demo runs on it, as
    (KIND, per cent of the rows, options); ``own_drifts`` are rows at which the data itself is known to change.
    """

    name: str
    about: str
    target: str
    columns: tuple[str, ...]
    rows: int
    sha256: str
    source: str
    licence: str
    url: str | None = None
    convert: conversions.Convert | None = None
    by_hand: str = ""
    drifts: tuple[tuple[str, int, str], ...] = ()
    own_drifts: tuple[TrueDrift, ...] = ()


_TAIWAN_COLUMNS = (
    "ID LIMIT_BAL SEX EDUCATION MARRIAGE AGE PAY_0 PAY_2 PAY_3 PAY_4 PAY_5 PAY_6 "
    "BILL_AMT1 BILL_AMT2 BILL_AMT3 BILL_AMT4 BILL_AMT5 BILL_AMT6 "
    "PAY_AMT1 PAY_AMT2 PAY_AMT3 PAY_AMT4 PAY_AMT5 PAY_AMT6 default"
)
_SBA_COLUMNS = (
    "LoanNr_ChkDgt ApprovalDate ApprovalFY State BankState NAICS Term NoEmp NewExist CreateJob RetainedJob "
    "FranchiseCode UrbanRural RevLineCr LowDoc DisbursementDate DisbursementGross GrAppv SBA_Appv ChgOffDate default"
)

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="sba_loans_22k",
            about="Loans guaranteed by the US Small Business Administration: does the borrower default?",
            target="default",
            columns=tuple(_SBA_COLUMNS.split()),
            rows=22_308,
            sha256="786a169f7ec3a248099c21183af3d627368ee4c636afe764edcffe11796bbcd2",
            source="https://doi.org/10.1080/10691898.2018.1434342",
            licence="US public domain (SBA FOIA; Li, Mickel & Taylor 2018)",
            by_hand="the article's supplement, SBAnational.csv, cut to these columns and rows in order of ApprovalDate",
            own_drifts=(TrueDrift(7341, "concept"),),
        ),
        Dataset(
            name="taiwan_credit",
            about="Credit card clients in Taiwan, 2005: does the client default next month?",
            target="default",
            columns=tuple(_TAIWAN_COLUMNS.split()),
            rows=30_000,
            sha256="bb0d0adea810540c5d664cd873453d28ed5d82fca5ff837cc2792a9dead10437",
            source="https://archive.ics.uci.edu/dataset/350/default+of+credit+card+clients",
            licence="CC BY 4.0 (UCI 350)",
            url="https://archive.ics.uci.edu/static/public/350/data.csv",
            convert=conversions.taiwan_from_uci,
            drifts=(("concept", 40, "feature=LIMIT_BAL"), ("covariate", 70, "feature=LIMIT_BAL")),
        ),
        Dataset(
            name="elec2",
            about="Electricity market of New South Wales, half-hourly 1996 to 1998: does the price rise?",
            target="class",
            columns=("date", "day", "period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer", "class"),
            rows=45_312,
            sha256="e6dcce2acc7b8fb587e1b5840789153905c73258f801f7ddc6d465c738b664d5",
            source="https://www.openml.org/d/151",
            licence="public (Harries 1999)",
            url="https://openml.org/data/v1/download/2419/electricity.arff",
            convert=conversions.elec2_from_arff,
            drifts=(("concept", 40, "feature=nswprice"), ("covariate", 70, "feature=nswdemand")),
        ),
        Dataset(
            name="noaa_weather",
            about="Daily weather at Bellevue, Nebraska, 1949 to 1999: does it rain?",
            target="target",
            columns=(*(f"feat_{number}" for number in range(1, 9)), "target"),
            rows=18_159,
            sha256="1efb19c3e654a32efa0018cfa15f61f5129ea6975f6f7e821db4adc22601fe78",
            source="https://www.ncei.noaa.gov (Elwell & Polikar 2011, Learn++.NSE)",
            licence="US public domain (NOAA)",
            by_hand="the NOAA weather data of the Learn++.NSE authors: eight measurements and rain, in one file",
            drifts=(("concept", 40, "feature=feat_1"), ("covariate", 70, "feature=feat_5")),
        ),
        Dataset(
            name="bike_demand",
            about="Capital Bikeshare, hourly 2011 and 2012: are many bikes rented?",
            target="class",
            columns=("f0", "f1", "f2", "f3", "class"),
            rows=17_379,
            sha256="0dfef30233853e1e5a2cef87b3f85ac631ffc06ea86666db220570d1fbb70315",
            source="https://archive.ics.uci.edu/dataset/275/bike+sharing+dataset",
            licence="CC BY 4.0 (UCI 275)",
            url="https://archive.ics.uci.edu/static/public/275/bike+sharing+dataset.zip",
            convert=conversions.bike_from_zip,
            drifts=(("concept", 40, "feature=f2"), ("covariate", 70, "feature=f3")),
        ),
    )
}
