/*
 * Hello for 32-bit ARM, clean form: 120 bytes.
 *
 * ELF header, program header, code, text, one after the other; every field
 * holds what the ELF specification asks for.  Thumb-1 only, so that ARMv6 and
 * all later cores run it.
 */
	.syntax	unified
	.arch	armv4t			@ refuses anything beyond Thumb-1
	.thumb

	.equ	base, 0x10000		@ 64K aligned: right for any page size

@	field				  offset  name
file:	.byte	0x7f, 'E', 'L', 'F'	@  0  e_ident: magic
	.byte	1, 1, 1, 0		@  4  32 bits, little-endian, version 1
	.space	8			@  8
	.short	2			@ 16  e_type: ET_EXEC
	.short	40			@ 18  e_machine: EM_ARM
	.long	1			@ 20  e_version
	.long	base + start - file + 1	@ 24  e_entry: bit 0 means Thumb
	.long	phdr - file		@ 28  e_phoff
	.long	0			@ 32  e_shoff
	.long	0x05000000		@ 36  e_flags: EABI version 5
	.short	52			@ 40  e_ehsize
	.short	32			@ 42  e_phentsize
	.short	1			@ 44  e_phnum
	.short	0			@ 46  e_shentsize
	.short	0			@ 48  e_shnum
	.short	0			@ 50  e_shstrndx

phdr:	.long	1			@ 52  p_type: PT_LOAD
	.long	0			@ 56  p_offset
	.long	base			@ 60  p_vaddr
	.long	base			@ 64  p_paddr
	.long	end - file		@ 68  p_filesz
	.long	end - file		@ 72  p_memsz
	.long	5			@ 76  p_flags: R+X
	.long	0x10000			@ 80  p_align

start:	movs	r7, #4			@ 84  write(1, text, 20)
	movs	r0, #1			@ 86
	adr	r1, text		@ 88
	movs	r2, #20			@ 90
	svc	#0			@ 92
	movs	r7, #1			@ 94  exit(0)
	movs	r0, #0			@ 96
	svc	#0			@ 98

text:	.ascii	"Hello Docker World!\n"	@ 100
end:
