import { PendingDeletions } from '~/lib/deletions';

/** Reminders that are about to be cancelled, here and on the pages of their devices. */
export const cancelled = new PendingDeletions<string>();
