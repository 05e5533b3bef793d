import type { OpenOptions } from '../../src/index.js'
import type { EncryptionShare } from '../encryption/share.js'
import { type End, makeVictim } from './stores.js'
import { describeSweep, Sweep, type SweepReport } from './sweep.js'

const BLOCK_BYTES = 64

/** Damages every file of a store in every way, one at a time. */
export async function sweepAll(
  end: End,
  options: OpenOptions,
  encryption: EncryptionShare,
): Promise<SweepReport> {
  const victim = await makeVictim(end, options, encryption)
  const sweep = new Sweep(victim)
  for (const path of sweep.paths()) {
    await sweep.files(path)
    await sweep.bytes(path)
    await sweep.lengths(path)
    await sweep.blocks(path, BLOCK_BYTES)
  }
  console.log(describeSweep(victim.name, sweep.report))
  return sweep.report
}
