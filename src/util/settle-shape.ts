/** V8 settles a class with the seventh of its objects. */
const OBJECTS = 8

/**
 * Has V8 settle how large the objects of a class are, while all of them are there: as its module is loaded. It goes by
 * the objects that it knows of when the seventh is made. Where a large collection has taken the six before, that is none:
 * it leaves no room in the object for fields then, and the later ones, of more than a dozen, become tables of names for
 * good. Seeks and scans took two to three times as long in half of all processes.
 * Source: "Slack tracking in V8", https://v8.dev/blog/slack-tracking, 2020.
 * @param make makes one; may throw once the fields are there.
 */
export function settleShape(make: () => unknown): void {
  for (let i = 0; i < OBJECTS; i++) {
    try {
      make()
    } catch {
      // Without what it is made for, it was only to have its fields.
    }
  }
}
