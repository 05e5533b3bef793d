/** What the tests use of a package that brings no types. */
declare module 'search-index' {
  export class SearchIndex {
    constructor(options: { name: string; Level: unknown })
    readonly EVENTS: { on(event: 'ready', listener: () => void): void }
    PUT(documents: readonly object[]): Promise<unknown>
    SEARCH(query: readonly string[]): Promise<{ RESULT: { _id: number }[] }>
    DELETE(...ids: number[]): Promise<unknown>
    DOCUMENT_COUNT(): Promise<number>
  }
}
