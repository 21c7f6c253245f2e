// Ends that are answers: each is a sentence for people.

// The configuration cannot work, however often it is tried.
export class Refused extends Error {}

// The spool takes no more.
export class SpoolFull extends Error {}
