/*
 * Hello for 32-bit ARM, small form: 92 bytes.
 *
 * The program header starts inside the ELF header, at e_phnum, and execution
 * starts at e_version and falls straight through both of them.  Fields that
 * Linux ignores hold code, and the value of every other field on the way is a
 * Thumb-1 instruction that does no harm or even helps:
 *
 *	base 0x2214....	movs r2, #20		the length of the text
 *	e_ehsize 52	movs r4, r6		r6 is 0 since the start,
 *	e_phentsize 32	movs r0, r4		and this is the exit status
 *
 * Fields not used as code say the truth, except p_align, which Linux reads for
 * ET_DYN only.  The "as code" column shows what the value decodes to.
 */
	.syntax	unified
	.arch	armv4t			@ refuses anything beyond Thumb-1
	.thumb

	.equ	base, 0x22140000	@ 64K aligned: right for any page size

@	field or instruction		  offset  name         as code
file:	.byte	0x7f, 'E', 'L', 'F'	@  0  e_ident: magic
	.byte	1, 1, 1, 0		@  4  32 bits, little-endian, version 1
	.space	8			@  8
	.short	2			@ 16  e_type: ET_EXEC
	.short	40			@ 18  e_machine: EM_ARM

start:	movs	r7, #4			@ 20  e_version    write(1, text, 20)
	movs	r0, #1			@ 22
	.long	base + start - file + 1	@ 24  e_entry      movs r5, r2
					@ 26               movs r2, #20
	.long	phdr - file		@ 28  e_phoff      movs r4, r5
					@ 30               movs r0, r0
	adr	r1, text		@ 32  e_shoff
	svc	#0			@ 34
	.long	0x05000000		@ 36  e_flags      movs r0, r0
					@ 38   (EABI 5)    lsls r0, r0, #20
	.short	52			@ 40  e_ehsize     movs r4, r6
	.short	32			@ 42  e_phentsize  movs r0, r4

phdr:	.long	1			@ 44  p_type       movs r1, r0
					@ 46               movs r0, r0
	.long	0			@ 48  p_offset     movs r0, r0, twice
	.long	base			@ 52  p_vaddr      movs r0, r0
					@ 54               movs r2, #20
	movs	r7, #1			@ 56  p_paddr      exit(0)
	svc	#0			@ 58
	.long	end - file		@ 60  p_filesz
	.long	end - file		@ 64  p_memsz
	.long	5			@ 68  p_flags: R+X
text:	.ascii	"Hello Docker World!\n"	@ 72  p_align, and on
end:

@ p_type is also e_phnum 1 and e_shentsize 0; p_offset is also e_shnum and
@ e_shstrndx, both 0: one program header, no sections.
