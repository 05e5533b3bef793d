/** Place of one committed batch in the log: 1, 2, 3 … without holes. 0 stands before the first. */
export type Position = number

/** The last position a store hands out; the room above it keeps sums of positions exact in a double. */
export const POSITION_MAX: Position = 2 ** 53 - 1 - 2 ** 20
