/* A library that writes a file as soon as it is opened. MANIFEST is its manifest, TRAP the file,
   MISSING a function that exists nowhere. */
#include <fcntl.h>
#include <unistd.h>

#ifdef MANIFEST
__attribute__((section(".note.ckanworker"), used, aligned(4))) static const struct {
    unsigned name_length, length, kind;
    char name[12];
    char text[sizeof(MANIFEST) - 1];
} note = {11, sizeof(MANIFEST) - 1, 1, "CKANWORKER", MANIFEST};
#endif

#ifdef MISSING
extern void MISSING(void);
void (*needs_what_is_missing)(void) = MISSING;
#endif

__attribute__((constructor)) static void opened(void) {
    int file = open(TRAP, O_WRONLY | O_CREAT, 0600);
    if (file >= 0) close(file);
}
