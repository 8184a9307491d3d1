"""Words that the texts of the measured databases are made of."""

from __future__ import annotations

_TEXT = """
account address after again amount approved batch before billing branch cancelled carrier changed checked
city claim closed collected comment completed confirmed contact contract credit customer daily damaged
delayed delivered delivery department deposit discount dispatched document domestic draft duplicate early
empty entered error estimated exchanged expired export express failed final first follow forwarded found
fragile freight general granted handled import incoming insured interest internal invoice item January
July keep label late ledger limit list local locked manual market merged message missing monthly moved
new noted number offered office only open order other outgoing overdue package paid partial payment
pending person phone picked plan planned posted price printed private process product promised quality
quantity quarter received recorded refund region rejected released reminder replaced reported request
reserved returned reviewed route sales scanned schedule second section sent service settled shipped
shop signed small sorted special standard started stock stopped store street supplier tax team
terminal third today token total transfer transit truck unit unpaid updated urgent value van verified
visit warehouse week weekly weight whole window without year yesterday zone
"""
WORDS = _TEXT.split()
