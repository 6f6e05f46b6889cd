/*
 * Hello for amd64, clean form: 162 bytes.
 *
 * ELF header, program header, code, text, one after the other; every field
 * holds what the ELF specification asks for.
 */
	.equ	base, 0x400000		# above mmap_min_addr everywhere

#	field				   offset  name
file:	.byte	0x7f, 'E', 'L', 'F'	#   0  e_ident: magic
	.byte	2, 1, 1, 0		#   4  64 bits, little-endian, version 1
	.space	8			#   8
	.short	2			#  16  e_type: ET_EXEC
	.short	62			#  18  e_machine: EM_X86_64
	.long	1			#  20  e_version
	.quad	base + start - file	#  24  e_entry
	.quad	phdr - file		#  32  e_phoff
	.quad	0			#  40  e_shoff
	.long	0			#  48  e_flags
	.short	64			#  52  e_ehsize
	.short	56			#  54  e_phentsize
	.short	1			#  56  e_phnum
	.short	0			#  58  e_shentsize
	.short	0			#  60  e_shnum
	.short	0			#  62  e_shstrndx

phdr:	.long	1			#  64  p_type: PT_LOAD
	.long	5			#  68  p_flags: R+X
	.quad	0			#  72  p_offset
	.quad	base			#  80  p_vaddr
	.quad	base			#  88  p_paddr
	.quad	end - file		#  96  p_filesz
	.quad	end - file		# 104  p_memsz
	.quad	0x10000			# 112  p_align

start:	push	$1			# 120  write(1, text, 20)
	pop	%rax			# 122
	mov	%eax, %edi		# 123
	mov	$base + text - file, %esi # 125
	push	$20			# 130
	pop	%rdx			# 132
	syscall				# 133
	push	$60			# 135  exit(0)
	pop	%rax			# 137
	xor	%edi, %edi		# 138
	syscall				# 140

text:	.ascii	"Hello Docker World!\n"	# 142
end:
