"""The alarm policy: from merged evidence to incidents.

An alarm needs significance *and* an effect above a floor. One drift is one incident, with a start and an end.
"""
