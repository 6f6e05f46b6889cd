/*
 * Hello for 64-bit ARM, clean form: 172 bytes.
 *
 * ELF header, program header, code, text, one after the other; every field
 * holds what the ELF specification asks for.
 */
	.arch	armv8-a

	.equ	base, 0x400000		// 64K aligned: right for any page size

//	field				   offset  name
file:	.byte	0x7f, 'E', 'L', 'F'	//   0  e_ident: magic
	.byte	2, 1, 1, 0		//   4  64 bits, little-endian, version 1
	.space	8			//   8
	.short	2			//  16  e_type: ET_EXEC
	.short	183			//  18  e_machine: EM_AARCH64
	.long	1			//  20  e_version
	.quad	base + start - file	//  24  e_entry
	.quad	phdr - file		//  32  e_phoff
	.quad	0			//  40  e_shoff
	.long	0			//  48  e_flags
	.short	64			//  52  e_ehsize
	.short	56			//  54  e_phentsize
	.short	1			//  56  e_phnum
	.short	0			//  58  e_shentsize
	.short	0			//  60  e_shnum
	.short	0			//  62  e_shstrndx

phdr:	.long	1			//  64  p_type: PT_LOAD
	.long	5			//  68  p_flags: R+X
	.quad	0			//  72  p_offset
	.quad	base			//  80  p_vaddr
	.quad	base			//  88  p_paddr
	.quad	end - file		//  96  p_filesz
	.quad	end - file		// 104  p_memsz
	.quad	0x10000			// 112  p_align

start:	mov	w8, #64			// 120  write(1, text, 20)
	mov	w0, #1			// 124
	adr	x1, text		// 128
	mov	w2, #20			// 132
	svc	#0			// 136
	mov	w8, #93			// 140  exit(0)
	mov	w0, #0			// 144
	svc	#0			// 148

text:	.ascii	"Hello Docker World!\n"	// 152
end:
