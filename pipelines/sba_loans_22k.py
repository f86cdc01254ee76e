"""Loans guaranteed by the US Small Business Administration: does the borrower default? (SBA FOIA; Li et al. 2018)"""

from penstock.spec import Categorical, Date, Numeric, Pipeline, Rows

PIPELINE = Pipeline(
    name="sba_loans_22k",
    task="binary",
    target="default",
    classes=("0", "1"),
    features=(
        Date("ApprovalDate", format="%Y-%m-%d"),
        Categorical("State"),
        Categorical("BankState"),
        Numeric("NAICS"),
        Numeric("Term", low=0),
        Numeric("NoEmp", low=0),
        Numeric("NewExist"),
        Numeric("CreateJob", low=0),
        Numeric("RetainedJob", low=0),
        Numeric("FranchiseCode"),
        Categorical("UrbanRural"),
        Categorical("RevLineCr"),
        Categorical("LowDoc"),
        Date("DisbursementDate", format="%m/%d/%Y"),
        Numeric("DisbursementGross", low=0),
        Numeric("GrAppv", low=0),
        Numeric("SBA_Appv", low=0),
    ),
    id="LoanNr_ChkDgt",
    time="ApprovalDate",
    time_format="%Y-%m-%d",
    # A default shows years later; for the demo, 500 loans later.
    label_delay=Rows(500),
    ignored={
        "LoanNr_ChkDgt": "it is the id",
        "ApprovalFY": "it follows from ApprovalDate, and always moves",
        "ChgOffDate": "the day on which a default became known: the answer itself",
    },
)
