// @ts-check
// Positions in PostgreSQL's log: a number of bytes, printed as two halves in hexadecimal.

/** @param {string} text such as `16/B374D848` */
export function lsnOf(text) {
  const [high, low] = text.split('/')
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`)
}

/** @param {bigint} lsn */
export function formatLsn(lsn) {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffff_ffffn).toString(16)}`.toUpperCase()
}
