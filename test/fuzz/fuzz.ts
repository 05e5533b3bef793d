import { SeededRandom } from '../../src/env/seeded-random.js'
import { VarveError } from '../../src/errors.js'
import { residentBytes } from '../damage/resident.js'
import type { Target } from './targets.js'

/** What a decoder said, numbers left out: the same kind of finding, whatever the place. */
export type Outcome = string

export interface Finding {
  readonly target: string
  readonly outcome: Outcome
  readonly input: Buffer
}

export interface FuzzReport {
  readonly executions: number
  /** The first input of each outcome. */
  readonly findings: readonly Finding[]
  readonly slowestMs: number
  readonly grownBytes: number
}

const TIME_MAX_MS = 2000
/** Memory that decoding a few kilobytes may take beyond what the process had. */
export const GROWTH_BYTES_MAX = 256 * 2 ** 20

/** Runs every target, in proportion to its weight. Throws at the first input that is not taken or refused properly. */
export async function fuzz(
  targets: readonly Target[],
  executions: number,
  seed: number,
): Promise<FuzzReport> {
  const weights = targets.reduce((sum, target) => sum + target.weight, 0)
  const findings: Finding[] = []
  const baseBytes = residentBytes()
  let slowestMs = 0
  let grownBytes = 0
  let done = 0
  for (const [i, target] of targets.entries()) {
    const random = new SeededRandom(seed + i)
    const known = new Set<Outcome>()
    const count = Math.ceil((executions * target.weight) / weights)
    for (let n = 0; n < count; n++) {
      const input = target.mutate(target.seeds[random.below(target.seeds.length)]!, random)
      const startMs = performance.now()
      const outcome = await outcomeOf(target, input)
      slowestMs = Math.max(slowestMs, performance.now() - startMs)
      if (n % 256 === 0) grownBytes = Math.max(grownBytes, residentBytes() - baseBytes)
      if (known.has(outcome)) continue
      known.add(outcome)
      findings.push({ target: target.name, outcome, input })
    }
    done += count
  }
  return { executions: done, findings, slowestMs, grownBytes }
}

/** @throws Error for what is neither taken nor refused with a typed error that names the file, in time. */
export async function outcomeOf(target: Target, input: Buffer): Promise<Outcome> {
  const startMs = performance.now()
  let outcome = 'taken'
  try {
    // A copy: a decoder that wrote to its input would spoil the evidence.
    await target.run(Buffer.from(input))
  } catch (error) {
    if (!(error instanceof VarveError && (target.isRefusal ?? isRefusal)(error))) {
      const shown = input.length > 3000 ? `${input.length} bytes` : input.toString('base64')
      throw new Error(`${target.name}: neither taken nor refused: ${shown}`, { cause: error })
    }
    outcome = `${error.code} ${error.message
      .replace(/^\S+ at byte \d+: /, '')
      .replace(/\d+/g, 'n')
      .slice(0, 60)}`
  }
  const tookMs = performance.now() - startMs
  if (tookMs > TIME_MAX_MS) throw new Error(`${target.name}: took ${tookMs} ms: ${input.toString('base64')}`)
  return outcome
}

function isRefusal(error: VarveError): boolean {
  // A manifest may say that the store is a follower, was fenced or has other encodings: whoever opens it or writes is
  // told so, and no file is damaged.
  if (error.code === 'VARVE_NOT_LEADER' || error.code === 'VARVE_FENCED') return true
  if (error.code === 'VARVE_INVALID_ARGUMENT' && error.message.includes('was made with')) return true
  // A version of another number is the one of encrypted files.
  const isDamage = ['VARVE_CORRUPTION', 'VARVE_FORMAT_VERSION', 'VARVE_KEY'].includes(error.code)
  return isDamage && error.file !== undefined
}
