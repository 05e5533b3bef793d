/**
 * The shortest part of a list that still fails, as far as leaving out pieces finds it: ever smaller pieces are left
 * out until none can be.
 */
export async function reduceList<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
  attemptsMax = 400,
): Promise<readonly T[]> {
  let kept = items
  let attempts = 0
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < kept.length && attempts < attemptsMax; ) {
      const without = [...kept.slice(0, from), ...kept.slice(from + size)]
      attempts++
      if (await fails(without)) kept = without
      else from += size
    }
  }
  return kept
}
