import { VarveError } from '../errors.js'
import type { Tree } from '../tree/tree.js'
import type { CommitPipeline } from './commit-pipeline.js'
import { currentEpoch } from './epochs.js'

/** Makes writes fail where this store follows another one, or a newer leader is known to have taken over. */
export function refuseForeignWrites(tree: Tree, pipeline: CommitPipeline): void {
  const { leader, fencedEpoch } = tree.version
  if (leader !== '') {
    refuseAsFollower(pipeline, leader)
  } else if (fencedEpoch > currentEpoch(tree)) {
    const message = `a leader of epoch ${fencedEpoch} has taken over; this store is of epoch ${currentEpoch(tree)}`
    pipeline.refuseWrites(() => new VarveError('VARVE_FENCED', message))
  } else {
    pipeline.refuseWrites(undefined)
  }
}

/** Refuses writes as a follower of `leader` does, until the store is closed. */
export function refuseAsFollower(pipeline: CommitPipeline, leader: string): void {
  const message = `this store follows ${leader}: write there, or promote() this one`
  pipeline.refuseWrites(() => new VarveError('VARVE_NOT_LEADER', message, { leader }))
}
