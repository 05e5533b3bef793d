/**
 * Sums that no order of adding and taking away changes: a list of parts that do not overlap, whose sum is the
 * exact one. Source: Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997; the rounding is that of
 * Python's `fsum`.
 */
export function addExactly(parts: readonly number[], value: number): number[] {
  const next: number[] = []
  let high = value
  for (const part of parts) {
    const isLarger = Math.abs(high) >= Math.abs(part)
    const [large, small] = isLarger ? [high, part] : [part, high]
    const sum = large + small
    const rest = small - (sum - large)
    if (rest !== 0) next.push(rest)
    high = sum
  }
  if (high !== 0) next.push(high)
  return next
}

/** The nearest double to the sum of parts that `addExactly` made. */
export function roundedSum(parts: readonly number[]): number {
  let i = parts.length - 1
  if (i < 0) return 0
  let high = parts[i]!
  let rest = 0
  while (i > 0) {
    const before = high
    const part = parts[--i]!
    high = before + part
    rest = part - (high - before)
    if (rest !== 0) break
  }
  // Half-way cases go to even only if nothing below decides.
  if (i > 0 && rest !== 0 && Math.sign(rest) === Math.sign(parts[i - 1]!)) {
    const doubled = rest * 2
    const away = high + doubled
    if (doubled === away - high) return away
  }
  return high
}
