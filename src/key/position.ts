/** Place of one committed batch in the log: 1, 2, 3 … without holes. 0 stands before the first. */
export type Position = number

/** The last position a store hands out: a frame of the log holds 48 bits, and the room above keeps sums within them. */
export const POSITION_MAX: Position = 2 ** 48 - 2 ** 20
