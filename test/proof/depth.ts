/** How many times the work of one commit: 1, and more in the deep run. */
export const DEPTH = Number(process.env['VARVE_DEPTH'] ?? 1)

/** Of every random choice; printed, so that a failure can be run again. */
export const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
